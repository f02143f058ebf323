// The cases of the Autobahn test suite for WebSockets that need nothing but bytes, by its numbers; large sizes are reduced.

/** Sent at once: a part of a frame, a frame, or several. */
export type Chop = Buffer
export interface Case {
  readonly id: string
  readonly what: string
  readonly sent: ReadonlyArray<Chop>
  /** What comes back: frames as {@link shown} writes them. The last one closes. */
  readonly answers: ReadonlyArray<string>
}

const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 }
type Opcode = keyof typeof opcodes | number

/** A frame of a client; `rsv` are the reserved bits as a number. */
const frame = (opcode: Opcode, payload: string | Uint8Array = "", { fin = true, rsv = 0 } = {}): Buffer => {
  const bytes = Buffer.from(payload as string)
  const first = (fin ? 0x80 : 0) | (rsv << 4) | (typeof opcode === "number" ? opcode : opcodes[opcode])
  const { length } = bytes
  const mask = [0x37, 0xfa, 0x21, 0x3d]
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
  head[0] = first
  head[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127)
  if (head.length === 4) head.writeUInt16BE(length, 2)
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, Buffer.from(mask), bytes.map((byte, i) => byte ^ mask[i % 4]!)])
}
const part = (opcode: Opcode, payload: string | Uint8Array = "", rsv = 0) =>
  frame(opcode, payload, { fin: false, rsv })

const code = (number: number, reason: string | Uint8Array = "") => {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(number)
  return frame("close", Buffer.concat([head, Buffer.from(reason as string)]))
}
const normal = code(1000)

/** A frame of the server as a word: what it is, and its text or, if it is not short, its size. */
export const shown = (opcode: number, payload: Buffer): string => {
  if (opcode === 8) return payload.length < 2 ? "close" : `close ${payload.readUInt16BE()}`
  const name = Object.entries(opcodes).find(([, number]) => number === opcode)?.[0] ?? opcode
  const text = payload.length > 40 ? `${payload.length} bytes, ${sum(payload)}` : payload.toString("latin1")
  return `${name} ${text}`
}
const sum = (bytes: Buffer) => bytes.reduce((sum, byte) => (sum * 31 + byte) % 1_000_003, 7)
const echo = (opcode: keyof typeof opcodes, payload: string | Uint8Array = "") =>
  shown(opcodes[opcode], Buffer.from(payload as string))

/** The bytes in pieces of `size`. */
const chopped = (frames: ReadonlyArray<Buffer>, size: number): ReadonlyArray<Chop> => {
  const all = Buffer.concat(frames)
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) =>
    all.subarray(i * size, (i + 1) * size)
  )
}
const joined = (frames: ReadonlyArray<Buffer>) => [Buffer.concat(frames)]
const ways = [
  joined,
  (frames: ReadonlyArray<Buffer>) => frames,
  (frames: ReadonlyArray<Buffer>) => chopped(frames, 1)
]
const wayNames = ["", ", by frames", ", by bytes"]

const cases: Array<Case> = []
const add = (id: string, what: string, sent: ReadonlyArray<Chop>, answers: ReadonlyArray<string>) =>
  cases.push({ id, what, sent, answers })
/** Legal: what comes back, then the close that the client asks for. */
const passes = (id: string, what: string, sent: ReadonlyArray<Chop>, ...answers: ReadonlyArray<string>) =>
  add(id, what, [...sent, normal], [...answers, "close 1000"])
/** Illegal: the close that follows is not read. */
const fails = (
  id: string,
  what: string,
  code: number,
  sent: ReadonlyArray<Chop>,
  ...answers: ReadonlyArray<string>
) => add(id, what, [...sent, normal], [...answers, `close ${code}`])

// 1 framing
for (const [group, opcode] of [
  ["1.1", "text"],
  ["1.2", "binary"]
] as const) {
  for (const [i, size] of [0, 125, 126, 127, 128, 65_535, 65_536].entries()) {
    const payload = "*".repeat(size)
    passes(`${group}.${i + 1}`, `${opcode} of ${size} bytes`, [frame(opcode, payload)], echo(opcode, payload))
  }
  const payload = "*".repeat(65_536)
  passes(
    `${group}.8`,
    `${opcode} in pieces of 997 bytes`,
    chopped([frame(opcode, payload)], 997),
    echo(opcode, payload)
  )
}

// 2 pings and pongs
const bytes = (...list: ReadonlyArray<number>) => Buffer.from(list)
const oddBytes = bytes(0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff)
const full = Buffer.alloc(125, 0xfe)
passes("2.1", "an empty ping", [frame("ping")], echo("pong"))
passes("2.2", "a ping with text", [frame("ping", "Hello")], echo("pong", "Hello"))
passes("2.3", "a ping with bytes", [frame("ping", oddBytes)], echo("pong", oddBytes))
passes("2.4", "a ping of 125 bytes", [frame("ping", full)], echo("pong", full))
fails("2.5", "a ping of 126 bytes", 1002, [frame("ping", Buffer.alloc(126))])
passes("2.6", "a ping, by bytes", chopped([frame("ping", full)], 1), echo("pong", full))
passes("2.7", "an empty pong", [frame("pong")])
passes("2.8", "a pong with text", [frame("pong", "unsolicited")])
passes("2.9", "a pong, and a ping", [frame("pong", "unsolicited"), frame("ping", "p")], echo("pong", "p"))
const tenPings = Array.from({ length: 10 }, (_, i) => frame("ping", `payload-${i}`))
const tenPongs = Array.from({ length: 10 }, (_, i) => echo("pong", `payload-${i}`))
passes("2.10", "ten pings", tenPings, ...tenPongs)
passes("2.11", "ten pings, by bytes", chopped(tenPings, 1), ...tenPongs)

// 3 reserved bits
const small = frame("text", "Hello")
const smallEcho = echo("text", "Hello")
fails("3.1", "text with RSV 1", 1002, [frame("text", "Hello", { rsv: 1 })])
for (const rsv of [2, 3, 4]) {
  const sent = [small, frame("text", "Hello", { rsv }), frame("ping")]
  fails(
    `3.${rsv}`,
    `text, then text with RSV ${rsv}${wayNames[rsv - 2]}`,
    1002,
    ways[rsv - 2]!(sent),
    smallEcho
  )
}
fails("3.5", "binary with RSV 5", 1002, [frame("binary", oddBytes, { rsv: 5 })])
fails("3.6", "a ping with RSV 6", 1002, [frame("ping", "Hello", { rsv: 6 })])
fails("3.7", "a close frame with RSV 7", 1002, [frame("close", bytes(3, 232), { rsv: 7 })])

// 4 opcodes
for (const [group, first] of [
  ["4.1", 3],
  ["4.2", 11]
] as const) {
  fails(`${group}.1`, `opcode ${first}`, 1002, [frame(first)])
  fails(`${group}.2`, `opcode ${first + 1}`, 1002, [frame(first + 1, "reserved")])
  for (const [i, way] of ways.entries()) {
    const sent = way([small, frame(first + 2 + i, i === 0 ? "" : "reserved"), frame("ping")])
    fails(`${group}.${i + 3}`, `text, then opcode ${first + 2 + i}${wayNames[i]}`, 1002, sent, smallEcho)
  }
}

// 5 fragments
fails("5.1", "a ping in fragments", 1002, [part("ping", "fragment1"), frame("continuation", "fragment2")])
fails("5.2", "a pong in fragments", 1002, [part("pong", "fragment1"), frame("continuation", "fragment2")])
const two = [part("text", "fragment1"), frame("continuation", "fragment2")]
const twoEcho = echo("text", "fragment1fragment2")
const withPing = [two[0]!, frame("ping", "ping"), two[1]!]
for (const [i, way] of ways.entries()) {
  passes(`5.${i + 3}`, `text in two fragments${wayNames[i]}`, way(two), twoEcho)
  passes(
    `5.${i + 6}`,
    `a ping between two fragments${wayNames[i]}`,
    way(withPing),
    echo("pong", "ping"),
    twoEcho
  )
  for (const [first, fin] of [
    [9, true],
    [12, false]
  ] as const) {
    const sent = way([frame("continuation", "non-continuation", { fin }), small])
    fails(
      `5.${first + i}`,
      `a continuation of nothing${fin ? "" : ", not the last"}, then text${wayNames[i]}`,
      1002,
      sent
    )
  }
}
fails(
  "5.15",
  "two fragments, then a continuation of nothing",
  1002,
  joined([...two, part("continuation", "3"), small]),
  twoEcho
)
fails("5.16", "a continuation of nothing, not the last, then two fragments", 1002, [
  part("continuation", "1"),
  ...two
])
fails("5.17", "a continuation of nothing, then two fragments", 1002, [frame("continuation", "1"), ...two])
fails("5.18", "two fragments that are both text", 1002, [part("text", "1"), frame("text", "2")])
const five = [
  ...[part("text", "1"), part("continuation", "2"), frame("ping", "a")],
  ...[part("continuation", "3"), part("continuation", "4"), frame("ping", "b"), frame("continuation", "5")]
]
for (const i of [0, 1]) {
  const answers = [echo("pong", "a"), echo("pong", "b"), echo("text", "12345")]
  passes(`5.${19 + i}`, `five fragments and two pings${wayNames[i]}`, ways[i]!(five), ...answers)
}

// 6 UTF-8
const fragments = (...payloads: ReadonlyArray<string | Uint8Array>) =>
  payloads.map((payload, i) =>
    frame(i === 0 ? "text" : "continuation", payload, { fin: i === payloads.length - 1 })
  )
const ofBytes = (text: Uint8Array) => fragments(...Array.from(text, (byte) => bytes(byte)))
passes("6.1.1", "empty text", fragments(""), echo("text"))
passes("6.1.2", "three empty fragments", fragments("", "", ""), echo("text"))
passes(
  "6.1.3",
  "an empty fragment before and after",
  fragments("", "middle frame payload", ""),
  echo("text", "middle frame payload")
)
const greek = Buffer.from("Hello-µ@ßöäüàá-UTF-8!!")
const cosmos = Buffer.from("cebae1bdb9cf83cebcceb5", "hex") // κόσμε
passes("6.2.1", "valid text", fragments(greek), echo("text", greek))
passes("6.2.2", "in two fragments", fragments(greek.subarray(0, 12), greek.subarray(12)), echo("text", greek))
passes("6.2.3", "in fragments of a byte", ofBytes(greek), echo("text", greek))
passes("6.2.4", "other text in fragments of a byte", ofBytes(cosmos), echo("text", cosmos))
const broken = Buffer.concat([cosmos, bytes(0xed, 0xa0, 0x80), Buffer.from("edited")])
fails("6.3.1", "invalid text", 1007, fragments(broken))
fails("6.3.2", "invalid text in fragments of a byte", 1007, ofBytes(broken))
// Autobahn's strict result is a close before the last fragment is sent.
const beyond = bytes(0xf4, 0x90, 0x80, 0x80)
const cut = beyond.subarray(0, 1)
fails("6.4.1", "invalid in the second of three fragments", 1007, fragments(cosmos, beyond, "edited"))
fails(
  "6.4.2",
  "invalid at the second of three fragments",
  1007,
  fragments(Buffer.concat([cosmos, cut]), beyond.subarray(1), "edited")
)
const whole = frame("text", Buffer.concat([cosmos, beyond, Buffer.from("edited")]))
const inFrame = 6 + cosmos.length
fails("6.4.3", "invalid in the second of three pieces", 1007, [
  whole.subarray(0, inFrame),
  whole.subarray(inFrame, inFrame + 4),
  whole.subarray(inFrame + 4)
])
fails("6.4.4", "invalid at the second of three pieces", 1007, [
  whole.subarray(0, inFrame + 1),
  whole.subarray(inFrame + 1, inFrame + 2),
  whole.subarray(inFrame + 2)
])

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex")
const utf8 = (group: string, valid: boolean, ...texts: ReadonlyArray<string | Buffer>) => {
  for (const [i, text] of texts.entries()) {
    const payload = typeof text === "string" ? hex(text) : text
    const id = `${group}.${i + 1}`
    if (valid) passes(id, payload.toString("hex"), fragments(payload), echo("text", payload))
    else fails(id, payload.toString("hex"), 1007, fragments(payload))
  }
}
utf8("6.5", true, cosmos, "ce ba", "ce ba e1 bd b9", "ce ba e1 bd b9 cf 83", "ce ba e1 bd b9 cf 83 ce bc")
for (let length = 1; length <= cosmos.length; length++) {
  const prefix = cosmos.subarray(0, length)
  const id = `6.6.${length}`
  if ([2, 5, 7, 9, 11].includes(length))
    passes(id, "a prefix of valid text", fragments(prefix), echo("text", prefix))
  else fails(id, "a prefix of valid text that cuts a character", 1007, fragments(prefix))
}
utf8("6.7", true, "00", "c2 80", "e0 a0 80", "f0 90 80 80")
utf8("6.8", false, "f8 88 80 80 80", "fc 84 80 80 80 80")
utf8("6.9", true, "7f", "df bf", "ef bf bf", "f4 8f bf bf")
utf8("6.10", false, "f7 bf bf bf", "fb bf bf bf bf", "fd bf bf bf bf bf")
utf8("6.11", true, "ed 9f bf", "ee 80 80", "ef bf bd", "f4 8f bf bf")
fails("6.11.5", "f4908080", 1007, fragments(beyond))
const continuations = bytes(...Array.from({ length: 64 }, (_, i) => 0x80 + i))
utf8("6.12", false, "80", "bf", ...[2, 3, 4, 5, 6].map((n) => continuations.subarray(0, n)), continuations)
const lonely = (from: number, to: number) =>
  bytes(...Array.from({ length: (to - from + 1) * 2 }, (_, i) => (i % 2 === 0 ? from + i / 2 : 0x20)))
utf8(
  "6.13",
  false,
  lonely(0xc0, 0xdf),
  lonely(0xe0, 0xef),
  lonely(0xf0, 0xf7),
  lonely(0xf8, 0xfb),
  lonely(0xfc, 0xfd)
)
const missing = [
  "c0",
  "e0 80",
  "f0 80 80",
  "f8 80 80 80",
  "fc 80 80 80 80",
  "df",
  "ef bf",
  "f7 bf bf",
  "fb bf bf bf",
  "fd bf bf bf bf"
]
utf8("6.14", false, ...missing)
utf8("6.15", false, missing.join(""))
utf8("6.16", false, "fe", "ff", "fe fe ff ff")
utf8("6.17", false, "c0 af", "e0 80 af", "f0 80 80 af", "f8 80 80 80 af", "fc 80 80 80 80 af")
utf8("6.18", false, "c1 bf", "e0 9f bf", "f0 8f bf bf", "f8 87 bf bf bf", "fc 83 bf bf bf bf")
utf8("6.19", false, "c0 80", "e0 80 80", "f0 80 80 80", "f8 80 80 80 80", "fc 80 80 80 80 80")
const surrogates = ["ed a0 80", "ed ad bf", "ed ae 80", "ed af bf"]
const trailing = ["ed b0 80", "ed be 80", "ed bf bf"]
utf8("6.20", false, ...surrogates, ...trailing)
utf8(
  "6.21",
  false,
  ...surrogates.flatMap((first) => ["ed b0 80", "ed bf bf"].map((second) => first + second))
)
const planes = Array.from({ length: 17 }, (_, plane) => plane * 0x10000)
utf8(
  "6.22",
  true,
  ...planes.flatMap((plane) =>
    [0xfffe, 0xffff].map((last) => Buffer.from(String.fromCodePoint(plane + last)))
  )
)
utf8(
  "6.23",
  true,
  ...[0xfff9, 0xfffa, 0xfffb, 0xfffc, 0xfffd, 0xfffe, 0xffff].map((point) =>
    Buffer.from(String.fromCodePoint(point))
  )
)

// 7 closing
add("7.1.1", "text, then a close", [small, normal], [smallEcho, "close 1000"])
add("7.1.2", "two closes", joined([normal, normal]), ["close 1000"])
add("7.1.3", "a ping after the close", joined([normal, frame("ping")]), ["close 1000"])
add("7.1.4", "text after the close", joined([normal, small]), ["close 1000"])
add("7.1.5", "a fragment, a close, the other fragment", joined([two[0]!, normal, two[1]!]), ["close 1000"])
const much = "BAsd7&jh23".repeat(26_214)
add("7.1.6", "256 KiB, a close, a ping", joined([frame("text", much), normal, frame("ping")]), [
  echo("text", much),
  "close 1000"
])
add("7.3.1", "a close without code", [frame("close")], ["close"])
fails("7.3.2", "a close of one byte", 1002, [frame("close", "a")])
add("7.3.3", "a close with a code", [normal], ["close 1000"])
add("7.3.4", "a close with a reason", [code(1000, "Hello World!")], ["close 1000"])
add("7.3.5", "a close with a reason of 123 bytes", [code(1000, "*".repeat(123))], ["close 1000"])
fails("7.3.6", "a close with a reason of 124 bytes", 1002, [code(1000, "*".repeat(124))])
fails("7.5.1", "a reason that is not UTF-8", 1007, [code(1000, broken)])
for (const [i, number] of [
  1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999
].entries()) {
  add(`7.7.${i + 1}`, `code ${number}`, [code(number)], [`close ${number}`])
}
for (const [i, number] of [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999].entries()) {
  fails(`7.9.${i + 1}`, `code ${number}`, 1002, [code(number)])
}
for (const [i, number] of [5000, 65_535].entries())
  fails(`7.13.${i + 1}`, `code ${number}`, 1002, [code(number)])

// 9 limits: those up to the server's own of 1 MiB, and what exceeds it
for (const [group, opcode] of [
  ["9.1", "text"],
  ["9.2", "binary"]
] as const) {
  for (const [i, kib] of [64, 256, 1024].entries()) {
    const payload = Buffer.alloc(kib * 1024, "*")
    passes(`${group}.${i + 1}`, `${opcode} of ${kib} KiB`, [frame(opcode, payload)], echo(opcode, payload))
  }
  fails(`${group}.4`, `${opcode} of 4 MiB`, 1009, [
    frame(opcode, Buffer.alloc(4 * 2 ** 20)).subarray(0, 1000)
  ])
}
for (const [group, opcode] of [
  ["9.3", "text"],
  ["9.4", "binary"]
] as const) {
  for (const [i, size] of [1024, 4096, 16_384, 65_536].entries()) {
    const payload = Buffer.alloc(2 ** 20, "*")
    const pieces = Array.from({ length: payload.length / size }, (_, at) =>
      frame(at === 0 ? opcode : "continuation", payload.subarray(at * size, (at + 1) * size), {
        fin: (at + 1) * size === payload.length
      })
    )
    passes(
      `${group}.${i + 1}`,
      `${opcode} of 1 MiB in fragments of ${size} bytes`,
      joined(pieces),
      echo(opcode, payload)
    )
  }
}
for (const [group, opcode] of [
  ["9.5", "text"],
  ["9.6", "binary"]
] as const) {
  for (const [i, size] of [64, 128, 256, 512, 1024, 2048].entries()) {
    const payload = Buffer.alloc(2 ** 17, "*")
    passes(
      `${group}.${i + 1}`,
      `${opcode} of 128 KiB in pieces of ${size} bytes`,
      chopped([frame(opcode, payload)], size),
      echo(opcode, payload)
    )
  }
}
for (const [group, opcode] of [
  ["9.7", "text"],
  ["9.8", "binary"]
] as const) {
  for (const [i, size] of [0, 16, 64, 256, 1024, 4096].entries()) {
    const payload = "*".repeat(size)
    const many = Array.from({ length: 100 }, () => frame(opcode, payload))
    passes(
      `${group}.${i + 1}`,
      `100 ${opcode}s of ${size} bytes`,
      many,
      ...many.map(() => echo(opcode, payload))
    )
  }
}

export const all: ReadonlyArray<Case> = cases

/** The cases of a chapter. */
export const ofChapter = (chapter: string): ReadonlyArray<Case> =>
  cases.filter(({ id }) => id.startsWith(`${chapter}.`))
