import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { constants, tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import type { Writable } from "node:stream"
import { direct, type Listener, type Request, type Spawner } from "./spawner.js"

// A fork copies the page tables of who forks, and Node's are large: 2 ms a process, in which nothing else runs. So one
// small process forks for us, a fifth of Node's size. Being there, it is three more things: the parent that lives on
// when this process is killed and then ends what was started; the subreaper of everyone who loses their parent; and
// who can ask the kernel what a process has used (wait4). It is Perl, because that is part of every Debian, Fedora and
// macOS and can ask for all of this; without it `direct` is used. `npm run bench -- processes` measures.
//
// Requests go to its stdin: a length, then fields with a length each. Events of 34 bytes come from its stdout. Each
// child connects its own pipes to our socket, and says which they are in the first five bytes.
const script = String.raw`
use strict; no warnings; use POSIX (); use Socket; use Fcntl;
my ($path, $grace) = @ARGV;
$0 = "aio fork server";
my ($prctl, $wait4) = @{{ x86_64 => [157, 61], aarch64 => [167, 260] }->{(POSIX::uname())[4]} || []};
($prctl, $wait4) = () if $^O ne "linux";
syscall($prctl, 36, 1) if $prctl; # PR_SET_CHILD_SUBREAPER
my %jobs; # by pid
my %starting; # by descriptor: a pipe that exec closes, or that says why there was none
my @kept; # our own stdin and stdout, for children that inherit them
for my $fd (3, 4) { open(my $h, "+<&=", $fd) or next; fcntl($h, F_SETFD, FD_CLOEXEC); push @kept, $h }
open(my $events, ">&", 1);
pipe(my $wake_r, my $wake_w); fcntl($_, F_SETFL, O_NONBLOCK) for $wake_r, $wake_w;
$SIG{CHLD} = sub { syswrite($wake_w, "x") };
$SIG{PIPE} = "IGNORE";
sub tell_ { syswrite($events, pack("a1Nl>q>q>q>C", @_, (0) x (7 - @_))) }
sub fail_ { syswrite($_[0], pack("NC", $!+0, $_[1])); POSIX::_exit(127) }
# Whoever has lost their parent is a child of ours: without such, those who ended have left nobody.
sub orphans {
  open(my $f, "<", "/proc/$$/task/$$/children") or return -1;
  my $all = <$f> // "";
  grep { !exists $jobs{$_} } split " ", $all;
}
sub reap {
  my @ended;
  for (;;) {
    my ($status, $used) = ("\0" x 4, "\0" x 144);
    my $pid = $wait4 ? syscall($wait4, -1, $status, 1, $used) : waitpid(-1, 1);
    if ($pid <= 0) {
      my $left = @ended && (!$prctl || orphans()) ? 1 : 0;
      tell_(@$_, $left) for @ended;
      return $pid;
    }
    started(grep { $starting{$_}[2] == $pid } keys %starting); # who has ended has started before
    my $job = delete $jobs{$pid};
    next unless defined $job;
    my @u = $wait4 ? unpack("q5", $used) : ();
    my @used = @u ? ($u[0] * 1000000 + $u[1], $u[2] * 1000000 + $u[3], $u[4]) : (-1, -1, -1);
    push @ended, ["X", $job, $wait4 ? unpack("i", $status) : $?, @used];
  }
}
sub started {
  for my $fd (@_) {
    my ($pipe, $job, $pid) = @{$starting{$fd}};
    my $read = sysread($pipe, my $why, 5);
    next unless defined $read; # still on its way
    delete $starting{$fd};
    if ($read) { delete $jobs{$pid}; tell_("F", $job, unpack("NC", $why)) }
    else { tell_("P", $job, $pid) }
  }
}
sub child {
  my ($told, $job, $flags, $cwd, $uid, $gid, $n, @rest) = @_;
  my @args = splice(@rest, 0, $n);
  $SIG{$_} = "DEFAULT" for "CHLD", "PIPE";
  POSIX::setsid();
  for my $fd (0, 1, 2) {
    my $kind = substr($flags, $fd, 1);
    if ($kind eq "i") { POSIX::dup2($fd + 3, $fd) if $fd < 2; next }
    my $h;
    if ($kind eq "n") { open($h, "<", "/dev/null") }
    else {
      socket($h, AF_UNIX, SOCK_STREAM, 0) && connect($h, pack_sockaddr_un($path)) or fail_($told, 0);
      syswrite($h, pack("CN", $fd, $job));
    }
    POSIX::dup2(fileno($h), $fd);
  }
  $gid eq "" or POSIX::setgid($gid) or fail_($told, 0);
  $uid eq "" or POSIX::setuid($uid) or fail_($told, 0);
  chdir($cwd) or fail_($told, 1);
  %ENV = () unless substr($flags, 3, 1) eq "e";
  for (@rest) { /^([^=]*)=(.*)/s and $ENV{$1} = $2 }
  exec { $args[0] } @args;
  fail_($told, 0);
}
my $buffer = "";
for (;;) {
  my $ready = "";
  vec($ready, $_, 1) = 1 for 0, fileno($wake_r), keys %starting;
  next if select($ready, undef, undef, undef) < 0;
  started(grep { vec($ready, $_, 1) } keys %starting);
  if (vec($ready, fileno($wake_r), 1)) {
    sysread($wake_r, my $x, 4096);
    reap();
  }
  next unless vec($ready, 0, 1);
  last unless sysread(STDIN, $buffer, 1 << 20, length $buffer);
  while (length($buffer) >= 4 && length($buffer) >= 4 + (my $size = unpack("N", $buffer))) {
    my @fields = unpack("(N/a)*", substr($buffer, 4, $size));
    substr($buffer, 0, 4 + $size) = "";
    pipe(my $hear, my $told);
    fcntl($hear, F_SETFL, O_NONBLOCK);
    my $pid = fork();
    if (!defined $pid) { tell_("F", $fields[0], $!+0, 0); next }
    child($told, @fields) if $pid == 0;
    $jobs{$pid} = $fields[0];
    $starting{fileno($hear)} = [$hear, $fields[0], $pid];
  }
}
# Nobody is there any more to answer for what was started.
sub all { my ($signal) = @_; kill($signal, map { -$_ } keys %jobs); kill($signal, grep { $_ > 0 } orphans()) }
all("TERM"); all("CONT");
for (my $waited = 0; reap() >= 0; $waited += 10) {
  all("KILL") if $waited >= $grace;
  select(undef, undef, undef, 0.01);
}
`

const errno = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]))
const signals = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name as NodeJS.Signals])
)

/** A field with its length before it. */
const field = (text: string): Buffer => {
  const size = Buffer.byteLength(text)
  const bytes = Buffer.allocUnsafe(4 + size)
  bytes.writeUInt32BE(size)
  bytes.write(text, 4)
  return bytes
}

const flag = { pipe: "p", inherit: "i", ignore: "n" } as const
const eventSize = 34
const headSize = 5

interface Job {
  readonly request: Request
  readonly listener: Listener
  readonly sockets: Set<Socket>
  /** Pipes that are still to connect or to end. */
  open: number
  exited: boolean
  /** Closes our ends of its pipes. */
  close: () => void
}

export interface ForkServer extends Spawner {
  /** Resolves when everything that it has started is gone, and so is it. */
  readonly close: () => Promise<void>
}

const perl = (): boolean =>
  (process.env["PATH"] ?? "").split(delimiter).some((folder) => existsSync(join(folder, "perl")))

/** Starts it; undefined where there is no Perl. `grace` (ms) is what children get when this process is gone. */
export const open = (grace: number): ForkServer | undefined => {
  if (process.platform !== "linux" || !perl()) return undefined
  const folder = mkdtempSync(join(tmpdir(), "aio-"))
  const path = join(folder, "socket")
  const jobs = new Map<number, Job>()
  let last = 0
  let server: ChildProcess | undefined
  let spoke = false
  let died: string | undefined

  const finish = (id: number, job: Job) => {
    if (!job.exited || job.open > 0) return
    jobs.delete(id)
    idle()
    job.listener.closed()
  }
  const fail = (id: number, job: Job, code: string, message: string) => {
    jobs.delete(id)
    idle()
    for (const socket of job.sockets) socket.destroy()
    job.listener.failed(code, message)
  }
  // What waits for a process keeps this one alive; a server without work does not.
  const idle = () => {
    if (jobs.size > 0) return
    server?.unref()
    ;(server?.stdout as unknown as Socket | undefined)?.unref()
  }
  const busy = () => {
    server?.ref()
    ;(server?.stdout as unknown as Socket | undefined)?.ref()
  }

  const pipes = createServer({ allowHalfOpen: true }, (socket) => {
    let head: Buffer | undefined = Buffer.alloc(0)
    let id = 0
    let job: Job | undefined
    let stream: "stdout" | "stderr" | undefined
    socket.on("error", () => undefined) // a child that closes its stdin early, or is gone
    socket.on("data", (chunk: Buffer) => {
      if (head !== undefined) {
        head = Buffer.concat([head, chunk])
        if (head.length < headSize) return
        id = head.readUInt32BE(1)
        job = jobs.get(id)
        if (job === undefined) return void socket.destroy()
        job.sockets.add(socket)
        stream = ([undefined, "stdout", "stderr"] as const)[head[0]!]
        if (stream === undefined) job.listener.input(socket as Writable)
        chunk = head.subarray(headSize)
        head = undefined
      }
      if (stream !== undefined && chunk.length > 0) job?.listener.data(stream, chunk, socket)
    })
    const over = () => {
      socket.destroy()
      if (job === undefined || stream === undefined) return
      const ended = job
      job = undefined
      ended.open--
      finish(id, ended)
    }
    socket.on("end", () => (stream === undefined ? undefined : over())).on("close", over)
  })

  const onEvent = (event: Buffer) => {
    spoke = true
    const id = event.readUInt32BE(1)
    const job = jobs.get(id)
    if (job === undefined) return
    const value = event.readInt32BE(5)
    switch (String.fromCharCode(event[0]!)) {
      case "P":
        return job.listener.started(value)
      case "F": {
        const code = event.readBigInt64BE(9) === 1n ? "ENOFOLDER" : (errno.get(value) ?? "")
        return fail(id, job, code, code)
      }
      default: {
        const [user, system, peak] = [9, 17, 25].map((at) => Number(event.readBigInt64BE(at)))
        job.exited = true
        job.listener.exited({
          alone: event[33] === 0,
          code: (value & 0x7f) === 0 ? (value >> 8) & 0xff : null,
          signal: signals.get(value & 0x7f) ?? null,
          usage:
            user! < 0 ? undefined : { user: user! / 1000, system: system! / 1000, peakMemory: peak! * 1024 }
        })
        finish(id, job)
      }
    }
  }

  const ready = new Promise<void>((resolve, reject) => {
    pipes.once("error", reject)
    pipes.listen(path, () => {
      pipes.unref()
      // Its own session: a Ctrl-C of the terminal is for us to answer.
      server = spawn("perl", ["-e", script, path, String(grace)], {
        stdio: ["pipe", "pipe", "inherit", 0, 1],
        detached: true
      })
      let rest: Buffer = Buffer.alloc(0)
      server.stdout!.on("data", (chunk: Buffer) => {
        let bytes: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
        for (; bytes.length >= eventSize; bytes = bytes.subarray(eventSize)) onEvent(bytes)
        rest = bytes
      })
      server.stdin!.on("error", () => undefined)
      ;(server.stdin as unknown as Socket).unref()
      const lost = (why: string) => {
        died = why
        for (const [id, job] of jobs) {
          if (spoke) fail(id, job, "", why)
          else {
            // a Perl without the modules, say
            jobs.delete(id)
            job.close = direct.spawn(job.request, job.listener)
          }
        }
      }
      server.once("error", (error) => lost(error.message))
      server.once("exit", (code, signal) =>
        lost(`the fork server has ended (${signal ?? `exit code ${code}`})`)
      )
      if (jobs.size > 0) busy()
      else idle()
      resolve()
    })
  })
  let started = false

  return {
    spawn: (request, listener) => {
      if (died !== undefined && !spoke) return direct.spawn(request, listener)
      const id = ++last
      const outputs = [request.stdout, request.stderr].filter((kind) => kind === "pipe").length
      const sockets = new Set<Socket>()
      const close = () => {
        for (const socket of sockets) socket.destroy()
        jobs.delete(id)
        idle()
      }
      const job: Job = { request, listener, sockets, open: outputs, exited: false, close }
      if (died !== undefined) {
        listener.failed("", died)
        return () => undefined
      }
      if (jobs.size === 0) busy()
      jobs.set(id, job)
      const message = encode(id, request)
      if (started) server!.stdin!.write(message)
      else {
        ready.then(
          () => {
            started = true
            server!.stdin!.write(message)
          },
          (error: Error) => fail(id, job, "", error.message)
        )
      }
      return () => job.close()
    },
    close: async () => {
      await ready.catch(() => undefined)
      pipes.close()
      if (server !== undefined && died === undefined) {
        server.ref()
        const gone = new Promise((resolve) => server!.once("exit", resolve))
        server.stdin!.end()
        await gone
      }
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

const encode = (
  id: number,
  { args, cwd, env, extendEnv, file, gid, stderr, stdin, stdout, uid }: Request
) => {
  const fields = [
    String(id),
    flag[stdin] + flag[stdout] + flag[stderr] + (extendEnv ? "e" : "-"),
    cwd,
    String(uid ?? ""),
    String(gid ?? ""),
    String(args.length + 1),
    file,
    ...args,
    ...Object.entries(env).map(([name, value]) => `${name}=${value}`)
  ].map(field)
  const size = fields.reduce((sum, { length }) => sum + length, 0)
  const head = Buffer.allocUnsafe(4)
  head.writeUInt32BE(size)
  return Buffer.concat([head, ...fields])
}
