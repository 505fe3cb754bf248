// What a caller in TypeScript writes. It has to pass `tsc --strict`, and run against a live service.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

type Event = components["schemas"]["Event"];

const client = createClient<paths>({ baseUrl: process.argv[2] ?? "" });

function told(event: Event): string {
  switch (event.type) {
    case "started":
      return `attempt ${event.data.attempt ?? "?"}`;
    case "progress":
      return `${event.data.percent} %`;
    case "item-failed":
      return `item ${event.data.index}`;
    case "succeeded":
      return event.data.reason ?? event.type;
    default:
      return event.type;
  }
}

async function main(): Promise<void> {
  const submitted = await client.POST("/v1/jobs", {
    body: { handler: "echo", args: { x: 1 } },
    params: { header: { Prefer: "wait=10" } },
  });
  if (submitted.error !== undefined) {
    throw new Error(submitted.error.detail);
  }
  const job = submitted.data;
  const phase: components["schemas"]["Phase"] = job.status.phase;

  const refused = await client.POST("/v1/jobs", { body: { handler: "no-such" } });
  const detail: string = refused.error?.errors?.[0]?.pointer ?? "";

  // @ts-expect-error: a field that a submit does not have is an error of the compiler
  const unknown: components["schemas"]["Submission"] = { handlr: "echo" };

  const page = await client.GET("/v1/jobs", { params: { query: { phase: ["Succeeded"], limit: 10 } } });
  const ids: string[] = page.data?.items.map((one) => one.id) ?? [];

  const events = await client.GET("/v1/jobs/{id}/events", { params: { path: { id: job.id } } });
  if (events.data === undefined || typeof events.data === "string") {
    throw new Error("the events come as JSON");
  }
  const lines = events.data.items.map(told);

  const batch = await client.POST("/v1/jobs:batch", { body: { jobs: [{ handler: "echo" }, { command: ["true"] }] } });
  const workers = await client.GET("/v1/workers");
  const slots: number = workers.data?.items[0]?.slots ?? 0;
  const queue = await client.PATCH("/v1/queues/{name}", { params: { path: { name: "default" } }, body: { concurrency: 4 } });

  console.log(JSON.stringify({
    phase, result: job.status.result, detail, found: ids.includes(job.id), lines, slots,
    batch: batch.data?.count ?? batch.error?.status, concurrency: queue.data?.policy.concurrency,
  }));
}

void main();
