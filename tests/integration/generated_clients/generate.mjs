// Writes schema.ts from the OpenAPI document. Files are Blobs; without this, openapi-typescript calls them strings.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const BLOB = ts.factory.createTypeReferenceNode(ts.factory.createIdentifier("Blob"));
const document = JSON.parse(await readFile(process.argv[2], "utf8"));
const ast = await openapiTS(document, {
  transform: (schema) => (schema.format === "binary" ? BLOB : undefined),
});
await writeFile("schema.ts", astToString(ast));
