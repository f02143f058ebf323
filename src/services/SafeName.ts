const reserved = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i

const truncate = (name: string, bytes: number): string => {
  if (Buffer.byteLength(name) <= bytes) return name
  const dot = name.lastIndexOf(".")
  const extension = dot > 0 && name.length - dot <= 16 ? name.slice(dot) : ""
  let stem = name.slice(0, name.length - extension.length)
  while (Buffer.byteLength(stem + extension) > bytes) stem = Array.from(stem).slice(0, -1).join("")
  return stem + extension
}

/**
 * Reduces a name that came from the network to a file name that is safe in any folder: the part behind the last
 * `/` or `\`, without control bytes, leading dots and trailing dots or blanks, not one that Windows reserves, at
 * most 200 bytes. Undefined when nothing is left.
 */
export const fromNetwork = (name: string): string | undefined => {
  const base = name
    .slice(Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\")) + 1)
    .normalize("NFC")
    // control bytes, and what reorders or hides text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "")
    .replace(/[<>:"|?*]/g, "_")
    .replace(/^[.\s]+|[.\s]+$/g, "")
  if (base === "") return undefined
  return truncate(reserved.test(base) ? `_${base}` : base, 200)
}

/** The file name that a URL suggests: its last path segment, percent-decoded; `index.html` where there is none. */
export const fromUrl = (url: URL): string => {
  const segment = url.pathname.slice(url.pathname.lastIndexOf("/") + 1)
  let decoded = segment
  try {
    decoded = decodeURIComponent(segment)
  } catch {
    // not UTF-8 behind the percent signs: the name stays as it is written
  }
  return fromNetwork(decoded) ?? "index.html"
}

/** The file name in a `Content-Disposition` header (RFC 6266: `filename*` before `filename`), made safe. */
export const fromContentDisposition = (header: string): string | undefined => {
  const extended = /(?:^|;)\s*filename\*\s*=\s*UTF-8'[^']*'([^;\s]+)/i.exec(header)
  if (extended !== null) {
    try {
      return fromNetwork(decodeURIComponent(extended[1]!))
    } catch {
      // malformed: the plain form may still do
    }
  }
  const plain = /(?:^|;)\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))/i.exec(header)
  if (plain === null) return undefined
  return fromNetwork(plain[1]?.replace(/\\(.)/g, "$1") ?? plain[2]!)
}
