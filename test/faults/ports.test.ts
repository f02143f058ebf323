import { spawnSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, describe, expect, it } from "vitest"
import * as Aio from "../support/Aio.js"

// Servers under `aio long-running`: what they answer to the question whether they are ready, and ports that the run
// before has left behind.

const closers: Array<() => void> = []
afterAll(() => {
  for (const close of closers) close()
  Aio.removeFolders()
})

/** A server on loopback that does this with each connection on which something is asked. */
const serve = async (answer: (socket: Socket) => void): Promise<number> => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => undefined).once("data", () => answer(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as { port: number }).port
}

/** Writes it for as long as the other end takes it. */
const forever = (piece: string | Buffer) => (socket: Socket) => {
  const write = () => void (socket.destroyed || socket.write(piece, () => setTimeout(write, 1)))
  write()
}
const head = (status: string, ...fields: ReadonlyArray<string>) =>
  [`HTTP/1.1 ${status}`, ...fields, "", ""].join("\r\n")
const after = (first: string, then: (socket: Socket) => void) => (socket: Socket) => {
  socket.write(first)
  then(socket)
}

const answers: ReadonlyArray<readonly [string, (socket: Socket) => void, ready: boolean]> = [
  ["nothing", () => undefined, false],
  ["garbage without end", forever("garbage ".repeat(1000)), false],
  ["a header without end", after("HTTP/1.1 200 OK\r\nX: ", forever("x".repeat(1000))), false],
  ["headers without end", after("HTTP/1.1 200 OK\r\n", forever(`X: ${"x".repeat(1000)}\r\n`)), false],
  ["interim answers without end", forever(head("102 Processing").repeat(100)), false],
  ["early hints without end", forever(head("103 Early Hints", "Link: </a>").repeat(100)), false],
  ["a body without end", after(head("200 OK", "Connection: close"), forever(Buffer.alloc(65_536))), true],
  [
    "a body that unpacks to much",
    after(
      head("200 OK", "Content-Encoding: gzip", "Connection: close"),
      forever(gzipSync(Buffer.alloc(16_000_000)))
    ),
    true
  ],
  ["a failure without end", after(head("503 No", "Connection: close"), forever(Buffer.alloc(65_536))), false],
  [
    "a redirect to itself",
    (socket) => void socket.end(head("302 Found", "Location: /", "Content-Length: 0")),
    true
  ]
]

describe("readiness by a URL that answers with", { concurrent: true }, () => {
  it.each(answers)("%s", async (_, answer, ready) => {
    const url = `http://127.0.0.1:${await serve(answer)}/`
    const timeout = ready ? "1m" : "500ms"
    const words = [
      "--restart",
      "never",
      "--ready-http",
      `a:${url}`,
      "--ready-timeout",
      timeout,
      "--after",
      "b:a"
    ]
    const running = Aio.start(["long-running", ...words, "a=sleep 60", "b=echo started; sleep 60"])
    if (ready) {
      await running.shows("b | started")
      running.kill("SIGTERM")
      expect((await running.ended).code).toBe(143)
    } else {
      const { code, stderr, stdout } = await running.ended
      expect([code, stdout]).toEqual([1, ""])
      expect(stderr).toMatch(/^Failed a: not ready: /m)
    }
  })
})

/**
 * Serves one connection, which it closes first: so its port is in TIME_WAIT for a minute. With a file `free` it binds by
 * SO_REUSEADDR, as if the minute were over.
 */
const server = `
use Socket;
my ($port) = @ARGV;
socket(my $s, PF_INET, SOCK_STREAM, 0);
sub reuse { setsockopt($s, SOL_SOCKET, SO_REUSEADDR, pack("l", 1)) }
reuse() if -e "free";
$| = 1;
unless (bind($s, sockaddr_in($port, inet_aton("127.0.0.1")))) { print "in use\\n"; exit 1 }
reuse(); # for the next one: both have to allow it
listen($s, 5);
print "listening\\n";
if (-e "free") { print "ready\\n"; sleep 60 }
accept(my $c, $s);
close($c);
sleep 1 until -e "gone";
exit 1;
`
const perl = spawnSync("perl", ["-MSocket", "-e1"]).status === 0

describe.runIf(perl)("a port that the run before has left in TIME_WAIT", () => {
  it("makes runs fail and pause until it is free, and those that wait are started then", async () => {
    const cwd = Aio.folder()
    writeFileSync(join(cwd, "server.pl"), server)
    const port = await serve(() => undefined)
    closers.pop()!()
    const words = ["--ready-log", "a:^ready$", "--after", "b:a", "--retries", "1000,50ms"]
    const running = Aio.start(
      ["long-running", ...words, `a=exec perl server.pl ${port}`, "b=echo started; sleep 60"],
      { cwd }
    )
    await running.shows("a | listening")
    // The server closes first.
    const client = connect(port, "127.0.0.1")
    await new Promise((resolve) => client.resume().on("close", resolve))
    writeFileSync(join(cwd, "gone"), "")
    await running.shows("a | in use")
    await running.shows("a restarts in")
    writeFileSync(join(cwd, "free"), "")
    await running.shows("b | started")
    running.kill("SIGTERM")
    const { code, stdout } = await running.ended
    expect(code).toBe(143)
    expect(stdout).toMatch(/^a \| listening\n(a \| in use\n)+a \| listening\na \| ready\nb \| started\n$/)
  })
})
