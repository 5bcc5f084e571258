/** A fault put into the product on purpose. Every text must stand in its module exactly once, so that the list stays in step with the code. */
export interface Change {
  /** From the repository's root. */
  readonly module: string;
  readonly changes: readonly (readonly [text: string, by: string])[];
}

export interface Mutation extends Change {
  readonly name: string;
  /** The promise that is broken. */
  readonly breaks: string;
  /** In other modules: where a promise is kept twice. */
  readonly also?: readonly Change[];
}
