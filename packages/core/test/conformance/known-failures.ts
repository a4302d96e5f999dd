/** Node tests that do not pass, and why. A test that begins to pass must leave the list. */
export const knownFailures: Readonly<Record<string, string>> = {};
