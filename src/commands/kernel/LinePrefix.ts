/** Puts `tag` before each line; `state` carries over whether the last line is still open. */
export const before = (bytes: Uint8Array, tag: Buffer, state: { open: boolean }): Uint8Array => {
  if (bytes.length === 0) return bytes
  const from = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  let tags = state.open ? 0 : 1
  const last = bytes.length - 1
  for (let end = from.indexOf(10); end >= 0 && end < last; end = from.indexOf(10, end + 1)) tags++
  // One buffer, and no view for each line: all tagged output passes here.
  const to = Buffer.allocUnsafe(bytes.length + tags * tag.length)
  let at = state.open ? 0 : tag.copy(to)
  for (let start = 0; start < bytes.length; ) {
    const end = from.indexOf(10, start) + 1 || bytes.length
    at += from.copy(to, at, start, end)
    if (end < bytes.length) at += tag.copy(to, at)
    start = end
  }
  state.open = bytes[last] !== 10
  return to
}
