// Verifies callbacks with the published JavaScript library; cases come as JSON on standard input, answers go to output.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const cases = JSON.parse(readFileSync(0, "utf8"));
const answers = cases.map(({ secret, headers, body }) => {
  try {
    const raw = Buffer.from(body, "base64").toString("utf8");
    return { verified: true, type: new Webhook(secret).verify(raw, headers).type };
  } catch (error) {
    return { verified: false, why: error.constructor.name };
  }
});
console.log(JSON.stringify(answers));
