// What the service has loaded: the rows of GET /models, asked the page's questions.

/** What a route takes when a request names no model. */
const OWN = { classify: "intent", qa: "reader", summarize: "highlights" };
export const ZERO_SHOT = "zeroshot";

export class Models {
  constructor(rows) {
    this.rows = rows.filter((row) => row.loaded);
  }

  /** Names of the models for a task, the route's own first. */
  of(task) {
    const names = [...new Set(this.rows.filter((row) => row.task === task).map((row) => row.model))];
    return names.sort((a, b) => Number(b === OWN[task]) - Number(a === OWN[task]));
  }

  /** The rows of a model's variants, the biggest first. */
  variants(model) {
    return this.rows.filter((row) => row.model === model);
  }

  /** The row of one variant. */
  variant(model, variant) {
    return this.rows.find((row) => row.model === model && row.variant === variant);
  }

  /** The model that a request body means. */
  meant(task, body) {
    return body.model ?? (body.labels ? ZERO_SHOT : OWN[task]);
  }

  /** Whether this service can answer the body. */
  can(task, body) {
    return this.variants(this.meant(task, body)).length > 0;
  }

  /** Options for a select field of variants. */
  variantOptions(model) {
    const rows = this.variants(model);
    const usual = rows.find((row) => row.default);
    const rest = rows.map((row) => ({ value: row.variant, label: row.variant }));
    return [{ value: "", label: usual ? `${usual.variant} (default)` : "default" }, ...rest.filter((one) => one.value !== usual?.variant)];
  }

  /** The `model` field of a request; undefined where the route means it anyway. */
  named(task, model) {
    return model === OWN[task] ? undefined : model;
  }
}
