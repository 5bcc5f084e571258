/** Far beyond what anything takes on a loaded machine, and below the limit of a test, whose message would not say what never came; in ms. */
const patienceMs = 50_000;

/** Looks until it is so: what goes on in the background follows no reply. @throws Error naming `what` if it never comes */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const giveUpAt = process.hrtime.bigint() + BigInt(patienceMs) * 1_000_000n;
  while (!(await condition())) {
    if (process.hrtime.bigint() > giveUpAt) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
