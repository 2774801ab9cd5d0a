// Runs a liveness session with this device's camera: asks, sends pictures, shows what came of it.

const SESSIONS = "/v1/liveness-sessions";
const WIDTH = 640; // pixels of what is sent: enough for every rule, small enough for a phone's network
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
  look_straight: "Begin from looking straight.",
  no_face: "Your face is not in the picture.",
  several_faces: "Only you should be in the picture.",
  too_far: "Come a little closer.",
  too_close: "Move back a little.",
  better_light: "Find even light, without a glare on your face.",
  not_readable: "The picture could not be read. Hold still.",
  not_recognisable: "Your face is not clear enough. Find even light, hold the camera upright and keep still.",
};
const REASONS = {
  flat_face: "The face turned like a flat picture: the nose stayed where a photo's nose stays.",
  still_picture: "The picture stood perfectly still, as no camera's does.",
  replayed_frame: "A picture was shown a second time.",
  wrong_step: "That was another movement than the one asked for.",
  late_frame: "A picture came too late.",
  step_timeout: "The movement was not seen in time.",
  out_of_order: "Pictures came in the wrong order.",
  another_person: "The face changed to another person's.",
  not_live: "The face looked like a print or a screen.",
  not_the_reference: "This is not the person who is expected.",
  embedding_contract_mismatch: "The models changed during the check. Start a new one.",
  several_faces: "More than one face was in the picture.",
  no_face: "The face was gone for too long.",
  too_many_frames: "It took too many pictures.",
  not_analyzed: "The pictures could not be analysed.",
  not_recognisable: "The face could not be recognised: too dark, too blurred, covered or not upright.",
  session_timeout: "The time for the check is over.",
};
const OUTCOMES = { passed: "You passed", failed: "The check failed", expired: "The time is over", canceled: "Stopped" };
const NUMBERS = {
  yaw: "turned, degrees",
  pitch: "raised, degrees",
  nose_offset: "nose beside its line",
  parallax: "parallax of the nose",
  growth: "growth",
  similarity: "similarity to the first picture",
  reference_similarity: "similarity to the reference",
  liveness: "passive liveness",
  recognisability: "recognition quality",
  eyes_open: "eyes open",
};
const ARROWS = new Set(["turn_left", "turn_right", "look_up"]); // on the mirror that is shown, left is left

const at = (id) => document.getElementById(id);
const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
let run = null; // the session that runs, or null

class Stopped extends Error {}

class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body?.detail ?? `The service answered ${status}.`);
    this.status = status;
    this.code = body?.code;
    this.retryAfter = retryAfter;
  }
}

async function call(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Problem(answer.status, body, Number(answer.headers.get("retry-after") ?? 1));
  return { body, status: answer.status, now: Date.parse(answer.headers.get("date")) || Date.now() };
}

// A link such as /demo/liveness#session=live_...&token=eyJ... uses a session that a server opened.
async function open() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("session")) return { id: given.get("session"), client_token: given.get("token") ?? "" };
  try {
    const { body } = await call(SESSIONS, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ movements: 3 }),
    });
    return { ...body, own: true };
  } catch (problem) {
    if (problem.status === 401 || problem.status === 403) {
      throw new Error("This service asks for a key. Let your server open a session, and follow its link: " +
        "/demo/liveness#session=…&token=…", { cause: problem });
    }
    throw problem;
  }
}

async function camera() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("This browser gives no camera here: open the page over https or from this machine.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } },
    });
  } catch (error) {
    const words = {
      NotAllowedError: "The camera was not allowed. Allow it for this page, then start again.",
      NotFoundError: "No camera was found.",
      NotReadableError: "The camera is in use by something else.",
    };
    throw new Error(words[error.name] ?? `The camera cannot be used: ${error.message}`, { cause: error });
  }
}

// The camera's next picture: never the one that was sent before.
function nextPicture(video) {
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

async function picture(video, canvas) {
  await nextPicture(video);
  const takenAt = performance.now();
  const scale = Math.min(1, WIDTH / Math.min(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height); // not mirrored: left is left
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

// One picture is on its way at a time; a lost answer is asked for again with the same picture and number.
async function send(session, shot, sequence) {
  const headers = { "Session-Token": session.client_token };
  const path = `${SESSIONS}/${session.id}`;
  for (let tries = 0; ; tries += 1) {
    try {
      const sent = await call(`${path}/frames`, { method: "POST", headers, body: form(shot, sequence) });
      if (sent.status === 200) return sent;
      await sleep(1000);
      return await call(path, { headers });
    } catch (problem) {
      if (problem.code === "session_ended") return call(path, { headers });
      const again = !(problem instanceof Problem) || problem.status === 503 || problem.code === "frame_in_work";
      if (!again || tries > 4) throw problem;
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
    ask({ step: "look_straight", number: 0, of: session.steps?.length ?? 0, hint: null }, Date.now());
    const canvas = document.createElement("canvas");
    let told = { body: { status: "running" } };
    for (let sequence = 1; told.body.status === "running"; sequence += 1) {
      const shot = await picture(video, canvas);
      if (mine.stopped) throw new Stopped();
      told = await send(session, shot, sequence);
      if (told.body.status === "running") ask(told.body, told.now);
    }
    await conclude(session, told.body);
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
  if (at(id).textContent !== text) at(id).textContent = text; // what did not change is not read out again
}

function ask(told, now) {
  const first = told.look_straight_first;
  say("instruction", STEPS[first ? "look_straight" : told.step] ?? told.step);
  const next = first ? `Then: ${(STEPS[told.step] ?? told.step).toLowerCase()}.` : "";
  say("hint", next || (HINTS[told.hint] ?? ""));
  const arrow = at("arrow");
  arrow.toggleAttribute("hidden", first || !ARROWS.has(told.step)); // an SVG has no property of that name
  arrow.setAttribute("class", `arrow ${told.step}`);
  document.querySelector(".stage").classList.toggle("done", told.hint === "well_done");
  dots(told.number, told.of);
  clock(told.step_ends_at ? Date.parse(told.step_ends_at) - now : null, told.number);
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

async function conclude(session, told) {
  at("verdict").className = `verdict ${told.status}`;
  at("outcome").textContent = OUTCOMES[told.status] ?? told.status;
  at("reason").textContent = told.status === "passed"
    ? "A living person moved as asked, the same one in every picture."
    : REASONS[told.reason] ?? "";
  at("again").hidden = !session.own;
  at("evidence").replaceChildren();
  show("result");
  at("verdict").focus();
  if (session.own) {
    // What its own server would read; a client with a token alone is told no numbers.
    const { body } = await call(`${SESSIONS}/${session.id}`);
    at("evidence").replaceChildren(...body.steps.map((step) => card(step, body)));
  }
}

function card(step, session) {
  const missed = session.steps.find((each) => each.status === "missed");
  const refused = step === missed && session.refused.length > 0;
  const words = { passed: "shown", missed: step === missed ? "failed" : "not reached" };
  const box = document.createElement("section");
  box.className = `step ${step === missed ? "refused" : step.status}`;
  const head = document.createElement("header");
  const title = document.createElement("h3");
  title.textContent = STEPS[step.step];
  const status = document.createElement("span");
  status.className = "status";
  status.textContent = words[step.status] ?? step.status;
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
