// Runs a liveness session with the camera of this device: shows instructions, sends images, shows the result.

const SESSIONS = "/v1/liveness-sessions";
const WIDTH = 640; // pixels of the shorter side of an image: enough for every check, small enough for a phone network
const QUALITY = 0.92;

const STEPS = {
  look_straight: "Look straight into the camera",
  turn_left: "Turn your head to your left",
  turn_right: "Turn your head to your right",
  look_up: "Look up",
  come_closer: "Come closer to the camera",
  blink: "Close your eyes for a moment, then open them",
};
const HINTS = {
  well_done: "Well done.",
  go_on: "A bit more.",
  look_straight: "Look straight first.",
  no_face: "Your face is not visible.",
  several_faces: "Only you should be visible.",
  too_far: "Come a little closer.",
  too_close: "Move back a little.",
  better_light: "Find even light without glare on your face.",
  not_readable: "The image could not be read. Hold still.",
  not_recognisable: "Your face is not clear enough. Find even light, hold the camera upright, and keep still.",
};
const REASONS = {
  flat_face: "The face turned like a flat picture: the nose did not stand out from it.",
  still_picture: "The image stood perfectly still. A live camera image never does.",
  replayed_frame: "An image was shown a second time.",
  wrong_step: "That was not the requested movement.",
  late_frame: "An image arrived too late.",
  step_timeout: "The movement was not seen in time.",
  out_of_order: "Images arrived in the wrong order.",
  another_person: "The face changed to another person's.",
  not_live: "The face looked like a print or a screen.",
  not_the_reference: "This is not the expected person.",
  embedding_contract_mismatch: "The models changed during the check. Start a new one.",
  several_faces: "More than one face was visible.",
  no_face: "No face was visible for too long.",
  too_many_frames: "The check took too many images.",
  not_analyzed: "The images could not be analyzed.",
  not_recognisable: "The face could not be recognized: too dark, too blurred, covered, or not upright.",
  session_timeout: "The time limit of the check was reached.",
};
const OUTCOMES = { passed: "You passed", failed: "The check failed", expired: "Time is up", canceled: "Stopped" };
const NUMBERS = {
  yaw: "turn, degrees",
  pitch: "tilt, degrees",
  nose_offset: "nose off the midline",
  parallax: "parallax of the nose",
  growth: "growth",
  similarity: "similarity to the first image",
  reference_similarity: "similarity to the reference",
  liveness: "passive liveness",
  recognisability: "recognition quality",
  eyes_open: "eyes open",
};
const ARROWS = new Set(["turn_left", "turn_right", "look_up"]); // the mirrored video shows the person's left on the left

const at = (id) => document.getElementById(id);
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
let run = null; // the current session, or null

class Stopped extends Error {}

class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body?.detail ?? `The service responded with status ${status}.`);
    this.status = status;
    this.code = body?.code;
    this.retryAfter = retryAfter;
  }
}

async function call(path, options = {}) {
  const response = await fetch(path, { cache: "no-store", ...options });
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Problem(response.status, body, Number(response.headers.get("retry-after") ?? 1));
  return { body, status: response.status, now: Date.parse(response.headers.get("date")) || Date.now() };
}

// With a link such as /demo/liveness#session=live_...&token=eyJ..., use the session that a server opened.
async function open() {
  const link = new URLSearchParams(location.hash.slice(1));
  if (link.has("session")) return { id: link.get("session"), client_token: link.get("token") ?? "" };
  try {
    const { body } = await call(SESSIONS, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ movements: 3 }),
    });
    return { ...body, own: true };
  } catch (problem) {
    if (problem.status === 401 || problem.status === 403) {
      throw new Error("This service requires an API key. Open a session from your server and use its link: " +
        "/demo/liveness#session=…&token=…", { cause: problem });
    }
    throw problem;
  }
}

async function camera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("The browser does not allow camera access here. Open the page over HTTPS or on this machine.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } },
    });
  } catch (error) {
    const messages = {
      NotAllowedError: "Camera access was denied. Allow it for this page, then start again.",
      NotFoundError: "No camera was found.",
      NotReadableError: "The camera is in use by another application.",
    };
    throw new Error(messages[error.name] ?? `The camera cannot be used: ${error.message}`, { cause: error });
  }
}

// Wait for the next camera image, so that no image is sent twice.
function nextImage(video) {
  return new Promise((done) => {
    if (video.requestVideoFrameCallback) {
      video.requestVideoFrameCallback(() => done());
      return;
    }
    const before = video.currentTime;
    const look = () => (video.currentTime === before ? requestAnimationFrame(look) : done());
    requestAnimationFrame(look);
  });
}

async function capture(video, canvas) {
  await nextImage(video);
  const takenAt = performance.now();
  const scale = Math.min(1, WIDTH / Math.min(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height); // not mirrored
  const image = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
  return { image, takenAt };
}

function form({ image, takenAt }, sequence) {
  const fields = new FormData();
  fields.append("image", image, "frame.jpg");
  fields.append("sequence", String(sequence));
  fields.append("taken_at", String(takenAt));
  return fields;
}

// Send one image at a time. If the response is lost, resend the same image with the same sequence number.
async function send(session, shot, sequence) {
  const headers = { "Session-Token": session.client_token };
  const path = `${SESSIONS}/${session.id}`;
  for (let tries = 0; ; tries += 1) {
    try {
      const response = await call(`${path}/frames`, { method: "POST", headers, body: form(shot, sequence) });
      if (response.status === 200) return response;
      await sleep(1000);
      return await call(path, { headers });
    } catch (problem) {
      if (problem.code === "session_ended") return call(path, { headers });
      const retryable = !(problem instanceof Problem) || problem.status === 503 || problem.code === "frame_in_work";
      if (!retryable || tries > 4) throw problem;
      await sleep(1000 * (problem.retryAfter ?? 1));
    }
  }
}

async function start() {
  at("problem").hidden = true;
  at("start").disabled = true;
  const mine = { stopped: false, stream: null };
  run = mine;
  try {
    mine.stream = await camera();
    const session = await open();
    const video = at("video");
    video.srcObject = mine.stream;
    await video.play();
    show("running");
    instruct({ step: "look_straight", number: 0, of: session.steps?.length ?? 0, hint: null }, Date.now());
    const canvas = document.createElement("canvas");
    let response = { body: { status: "running" } };
    for (let sequence = 1; response.body.status === "running"; sequence += 1) {
      const shot = await capture(video, canvas);
      if (mine.stopped) throw new Stopped();
      response = await send(session, shot, sequence);
      if (response.body.status === "running") instruct(response.body, response.now);
    }
    await conclude(session, response.body);
  } catch (error) {
    if (!(error instanceof Stopped)) {
      at("problem").textContent = error.message;
      at("problem").hidden = false;
    }
    show("welcome");
  } finally {
    for (const track of mine.stream?.getTracks() ?? []) track.stop();
    at("video").srcObject = null;
    at("start").disabled = false;
    run = null;
  }
}

function show(name) {
  for (const section of ["welcome", "running", "result"]) at(section).hidden = section !== name;
}

function say(id, text) {
  if (at(id).textContent !== text) at(id).textContent = text; // screen readers do not repeat unchanged text
}

function instruct(state, now) {
  const first = state.look_straight_first;
  say("instruction", STEPS[first ? "look_straight" : state.step] ?? state.step);
  const next = first ? `Then: ${(STEPS[state.step] ?? state.step).toLowerCase()}.` : "";
  say("hint", next || (HINTS[state.hint] ?? ""));
  const arrow = at("arrow");
  arrow.toggleAttribute("hidden", first || !ARROWS.has(state.step)); // SVG elements have no `hidden` property
  arrow.setAttribute("class", `arrow ${state.step}`);
  document.querySelector(".stage").classList.toggle("done", state.hint === "well_done");
  dots(state.number, state.of);
  clock(state.step_ends_at ? Date.parse(state.step_ends_at) - now : null, state.number);
}

function dots(number, of) {
  const marks = Array.from({ length: of }, (_, place) => {
    const mark = document.createElement("li");
    mark.className = place < number ? "passed" : place === number ? "now" : "";
    mark.setAttribute("aria-label", `Step ${place + 1} of ${of}${place < number ? ", done" : ""}`);
    return mark;
  });
  at("dots").replaceChildren(...marks);
}

const longest = { step: -1, left: 1 };
function clock(left, step) {
  if (left !== null && longest.step !== step) Object.assign(longest, { step, left });
  const share = left === null ? 1 : Math.max(0, Math.min(1, left / longest.left));
  at("time").style.strokeDashoffset = String(100 * (1 - share));
}

async function conclude(session, state) {
  at("verdict").className = `verdict ${state.status}`;
  at("outcome").textContent = OUTCOMES[state.status] ?? state.status;
  at("reason").textContent = state.status === "passed"
    ? "A live person made the requested movements, and was the same in every image."
    : REASONS[state.reason] ?? "";
  at("again").hidden = !session.own;
  at("evidence").replaceChildren();
  show("result");
  at("verdict").focus();
  if (session.own) {
    // The view for the server that opened the session. With only a client token there are no measurements.
    const { body } = await call(`${SESSIONS}/${session.id}`);
    at("evidence").replaceChildren(...body.steps.map((step) => card(step, body)));
  }
}

function card(step, session) {
  const missed = session.steps.find((each) => each.status === "missed");
  const refused = step === missed && session.refused.length > 0;
  const labels = { passed: "passed", missed: step === missed ? "failed" : "not reached" };
  const box = document.createElement("section");
  box.className = `step ${step === missed ? "refused" : step.status}`;
  const head = document.createElement("header");
  const title = document.createElement("h3");
  title.textContent = STEPS[step.step];
  const status = document.createElement("span");
  status.className = "status";
  status.textContent = labels[step.status] ?? step.status;
  head.append(title, status);
  box.append(head);
  const evidence = refused ? session.refused : step.evidence;
  if (evidence.length) box.append(table(evidence));
  return box;
}

function table(evidence) {
  const rows = document.createElement("table");
  for (const { name, value, limit, passed } of evidence) {
    const row = rows.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = NUMBERS[name] ?? name;
    row.append(head);
    const number = row.insertCell();
    number.className = passed ? "number" : "number failed";
    number.textContent = value === null ? "–" : String(Math.round(value * 100) / 100);
    row.insertCell().textContent = limit;
    row.cells[2].className = "number";
  }
  return rows;
}

at("start").addEventListener("click", start);
at("again").addEventListener("click", () => { show("welcome"); start(); });
at("stop").addEventListener("click", () => { if (run) run.stopped = true; });
