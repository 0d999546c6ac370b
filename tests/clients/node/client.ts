// Calls a service by the types that openapi-typescript generates from its /docs.json; prints what it was told.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Code = components["schemas"]["ErrorBody"]["code"];

const url = process.env["RINGSIDE"];
const token = process.env["TOKEN"];
if (url === undefined || token === undefined) throw new Error("RINGSIDE and TOKEN are needed");
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });

function must<T>(data: T | undefined, error: unknown): T {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const record = { distance: 500, carrier: "AA", note: null };
const predicted = await client.POST("/predict", { body: { records: [record], ids: ["typed-1"] } });
const answer = must(predicted.data, predicted.error).predictions[0];
if (answer === undefined) throw new Error("no answer");
const late: number | undefined = answer.probabilities?.["late"];

const labelled = await client.POST("/labels", { body: { labels: [{ id: "typed-1", label: "late" }] } });
const accepted: number = must(labelled.data, labelled.error).accepted;

// @ts-expect-error a class that the champion does not have
const wrong = await client.POST("/labels", { body: { labels: [{ id: "typed-1", label: "maybe" }] } });
const code: Code | undefined = wrong.error?.error.code;

const got = await client.GET("/status");
const status = must(got.data, got.error);
const champion: string | undefined = status.champion?.version;
const predictions: number = status.log.predictions;

const listed = await client.GET("/models", { params: { query: { limit: 1 } } });
const standing: "eligible" | "rejected" | "rolled_back" | undefined = must(listed.data, listed.error).models[0]?.standing;

const trail = await client.GET("/events", { params: { query: { kind: "model_promoted,model_registered" } } });
const kinds: string[] = must(trail.data, trail.error).events.map((event) => event.kind);

const asked = await client.POST("/retrain", { body: { reason: "a typed reason" } });
const run = must(asked.data, asked.error).run_id;
const found = await client.GET("/runs/{run_id}", { params: { path: { run_id: run } } });
const state: "requested" | "running" | "succeeded" | "failed" | "declined" = must(found.data, found.error).state;

const rolled = await client.POST("/rollback", { body: { reason: "nobody was before" } });
const conflict: Code | undefined = rolled.error?.error.code;

const explained = await client.GET("/explain", { params: { query: { id: "typed-1", attribution: "false" } } });
const how: "first_version" | "bout" | "operator" | "rollback" | "unknown" = must(explained.data, explained.error).champion.how;

const probed = await client.GET("/readyz");
const ready: true = must(probed.data, probed.error).ready;

console.log(
  JSON.stringify({ late, accepted, code, champion, predictions, standing, kinds, state, conflict, how, ready }),
);
