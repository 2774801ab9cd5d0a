// Submits jobs through a generated client, as a form and as JSON, and prints how each ended.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { env: Record<string, string> };
type JobForm = components["schemas"]["JobForm"];

const { SERVICE, IMAGE } = process.env;
const client = createClient<paths>({ baseUrl: SERVICE });
const bytes = Uint8Array.from(atob(IMAGE), (letter) => letter.charCodeAt(0));
const header = { Prefer: "wait=20" };

function asForm(fields: object): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  return form;
}

const form: JobForm = {
  operation: "detect",
  image: new Blob([bytes], { type: "image/jpeg" }),
  params: JSON.stringify({ max_faces: 1 }),
};
const asFormJob = await client.POST("/v1/jobs", { params: { header }, body: form, bodySerializer: asForm });
const asJsonJob = await client.POST("/v1/jobs", {
  params: { header },
  body: {
    operation: "verify",
    image: { base64: IMAGE, url: null },
    reference: { base64: IMAGE },
    params: { fmr: null, threshold: 0.4 },
    metadata: null,
  },
});
const detected = await client.POST("/detect", { body: { file: new Blob([bytes]) }, bodySerializer: asForm });
const wrong = await client.POST("/compare", { body: { embedding1: [1, 0], embedding2: [1] } });

const job = asFormJob.data;
if (job?.result?.kind !== "faces") throw new Error(JSON.stringify(asFormJob.error));
const [x1, , x2]: number[] = job.result.faces[0].box;
console.log(
  JSON.stringify({
    form: job.status,
    json: asJsonJob.data?.status,
    width: x2 - x1,
    faces: detected.data?.num_faces,
    problem: wrong.error?.code,
  }),
);
