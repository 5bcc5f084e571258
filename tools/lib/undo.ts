/** What has to be taken apart again, last first. */
export class Undo {
  readonly #steps: (() => Promise<unknown>)[] = [];

  /** The answer takes the step out again: somebody else does it now. */
  push(step: () => Promise<unknown>): () => void {
    this.#steps.push(step);
    return () => {
      this.#steps.splice(this.#steps.indexOf(step), 1);
    };
  }

  /** All steps, also after one that fails. @throws the first failure, when all are done */
  async run(): Promise<void> {
    const failures: unknown[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
