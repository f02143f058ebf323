/** Puts `tag` before each line; `state` remembers where a line is still open. */
export const before = (bytes: Uint8Array, tag: Buffer, state: { open: boolean }): Uint8Array => {
  const parts: Array<Uint8Array> = []
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(10, from) + 1 || bytes.length
    if (!state.open) parts.push(tag)
    parts.push(bytes.subarray(from, end))
    state.open = bytes[end - 1] !== 10
    from = end
  }
  return Buffer.concat(parts)
}
