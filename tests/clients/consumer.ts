// A consumer in TypeScript, by types that openapi-typescript made of /openapi.json. It is compiled, never run: each
// `@ts-expect-error` is an error itself where the types would let anything pass.
import type { components, webhooks } from "./tributary";

type Body<Name extends keyof webhooks> = webhooks[Name]["post"]["requestBody"]["content"]["application/json"];
type Anything = Body<"hris_employees.created"> | Body<"ats_applications.updated"> | Body<"account.deleted">;

export function greeting(event: Body<"hris_employees.created">): string {
  // @ts-expect-error a polled event says which record changed, and holds none of it
  event.event_data.first_name;
  return `${event.record_remote_id}: ${event.event_data?.first_name ?? "somebody"}`;
}

export function line(event: Anything): string {
  switch (event.event) {
    case "hris_employees.created":
    case "hris_employees.updated":
    case "hris_employees.deleted":
      return event.record_remote_id;
    case "ats_applications.created":
    case "ats_applications.updated":
    case "ats_applications.deleted":
      return event.event_data?.application_status?.value ?? event.sent_at;
    case "account.created":
    case "account.updated":
    case "account.deleted":
      // @ts-expect-error an account is not a provider's record
      event.record_remote_id;
      return `${event.provider}: ${event.origin_owner_id ?? "nobody"}`;
  }
}

export function status(application: components["schemas"]["AtsApplications"]): boolean {
  // @ts-expect-error no status of the model
  application.application_status?.value === "invited";
  return application.application_status?.value === "hired";
}
