/** The end of the output that is recorded, in bytes. */
const recorded = 16_384

/** Keeps the end of what a run writes. */
export const outputTail = () => {
  let kept = Buffer.alloc(0)
  return {
    add: (bytes: Uint8Array) => {
      kept = Buffer.concat([kept, bytes]).subarray(-recorded)
    },
    // A first character that was cut is left out, and so is what PostgreSQL does not store.
    text: () =>
      kept
        .toString("utf8")
        .replace(/^\uFFFD+/, "")
        .replaceAll("\0", "")
  }
}
