import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { constants, tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { direct, type Listener, type Request, type Spawner } from "./spawner.js"

// A fork copies the page tables of who forks, and Node's are large: 2 ms a process, in which nothing else runs. So one
// small process forks for us, a fifth of Node's size. Being there, it is three more things: the parent that lives on
// when this process is killed and then ends what was started; the subreaper of everyone who loses their parent; and
// who can ask the kernel what a process has used (wait4). It is Perl, because that is part of every Debian and Fedora
// and can ask for all of this; without it `direct` is used. `npm run bench -- processes` measures. It loads no
// module, because each page that it has makes its forks slower; so it knows the numbers of system calls instead.
//
// Requests go to its stdin: a length, then fields with a length each. From its stdout come events: a letter, the job, the
// length of what follows. What children write comes there too, because a connection each costs more than a small job
// itself; of each pipe no more is on its way than the window, and what we have taken makes room for more. A child that
// is fed connects its stdin to our socket, and says which job it is in the first four bytes.
const script = String.raw`
use strict;
my ($path, $grace, $window, $wait4, $prctl, $setsid, $dup3, $setuid, $setgid, $exit) = map { /^\d+$/ ? $_ + 0 : $_ } @ARGV;
my ($f_setfd, $f_setfl, $o_nonblock, $eintr) = (2, 4, 2048, 4);
$0 = "aio fork server";
syscall($prctl, 36, 1); # PR_SET_CHILD_SUBREAPER
my %jobs; # by pid
my %starting; # by descriptor: a pipe that exec closes, or that says why there was none
my %out; # by descriptor: a pipe that a child writes to
my %outs; # by job: the descriptors of its pipes
my $said = ""; # events that are still to be sent
my @kept; # our own stdin and stdout, for children that inherit them
for my $fd (3, 4) { open(my $h, "+<&=", $fd) or next; fcntl($h, $f_setfd, 1); push @kept, $h }
open(my $events, ">&", 1);
pipe(my $wake_r, my $wake_w); fcntl($_, $f_setfl, $o_nonblock) for $wake_r, $wake_w;
$SIG{CHLD} = sub { syswrite($wake_w, "x") };
$SIG{PIPE} = "IGNORE";
sub tell_ { my ($kind, $job, $what) = @_; $said .= pack("a1NN", $kind, $job, length $what) . $what }
sub say_ {
  for (my $at = 0; $at < length $said; ) {
    my $sent = syswrite($events, $said, length($said) - $at, $at);
    if (defined $sent) { $at += $sent } elsif ($! != $eintr) { last }
  }
  $said = "";
}
sub shut { my ($fd) = @_; my $pipe = delete $out{$fd} or return; close($pipe->[0]); my $of = $outs{$pipe->[1]} or return; delete $of->{$fd}; %$of or delete $outs{$pipe->[1]} }
sub shut_all { my ($job) = @_; shut($_) for keys %{$outs{$job} || {}}; delete $outs{$job} }
# Passes on what a child has written; false when there is nothing more, now or ever.
sub pass {
  my ($fd) = @_;
  my $pipe = $out{$fd};
  my $read = sysread($pipe->[0], my $data, 65536);
  return 0 unless defined $read;
  if ($read == 0) { tell_(lc $pipe->[2], $pipe->[1], ""); shut($fd); return 0 }
  tell_($pipe->[2], $pipe->[1], $data);
  $pipe->[3] += $read;
  return 1;
}
sub fail_ { syswrite($_[0], pack("NC", $!+0, $_[1])); syscall($exit, 127) }
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
    my $pid = syscall($wait4, -1, $status, 1, $used);
    if ($pid <= 0) {
      my $left = @ended && orphans() ? 1 : 0;
      for (@ended) {
        my ($job, @what) = @$_;
        unless ($left) { # nobody else can write
          for (keys %{$outs{$job} || {}}) { 1 while pass($_) }
          shut_all($job);
        }
        tell_("X", $job, pack("l>q>q>q>C", @what, $left));
      }
      return $pid;
    }
    started(grep { $starting{$_}[2] == $pid } keys %starting); # who has ended has started before
    my $job = delete $jobs{$pid};
    next unless defined $job;
    my @u = unpack("q5", $used);
    push @ended, [$job, unpack("i", $status), $u[0] * 1000000 + $u[1], $u[2] * 1000000 + $u[3], $u[4]];
  }
}
sub started {
  for my $fd (@_) {
    my ($pipe, $job, $pid) = @{$starting{$fd}};
    my $read = sysread($pipe, my $why, 5);
    next unless defined $read; # still on its way
    delete $starting{$fd};
    if ($read) { delete $jobs{$pid}; shut_all($job); tell_("F", $job, $why) }
    else { tell_("P", $job, pack("N", $pid)) }
  }
}
sub child {
  my ($told, $outs, $job, $flags, $cwd, $uid, $gid, $n, @rest) = @_;
  my @args = splice(@rest, 0, $n);
  $SIG{$_} = "DEFAULT" for "CHLD", "PIPE";
  syscall($setsid);
  for my $fd (0, 1, 2) {
    my $kind = substr($flags, $fd, 1);
    if ($kind eq "i") { syscall($dup3, $fd + 3, $fd, 0) if $fd < 2; next }
    my $h;
    if ($fd > 0) { $h = $outs->[$fd] or fail_($told, 0) }
    elsif ($kind eq "n") { open($h, "<", "/dev/null") }
    else {
      socket($h, 1, 1, 0) && connect($h, pack("Sa*", 1, $path . "\0")) or fail_($told, 0);
      syswrite($h, pack("N", $job));
    }
    syscall($dup3, fileno($h), $fd, 0);
  }
  $gid eq "" or syscall($setgid, $gid + 0) == 0 or fail_($told, 0);
  $uid eq "" or syscall($setuid, $uid + 0) == 0 or fail_($told, 0);
  chdir($cwd) or fail_($told, 1);
  %ENV = () unless substr($flags, 3, 1) eq "e";
  for (@rest) { /^([^=]*)=(.*)/s and $ENV{$1} = $2 }
  exec { $args[0] } @args;
  fail_($told, 0);
}
sub begin {
  my ($job, $flags) = @_;
  my (@write, @read);
  for my $fd (1, 2) {
    next if substr($flags, $fd, 1) eq "i";
    pipe($read[$fd], $write[$fd]) or last;
    fcntl($read[$fd], $f_setfl, $o_nonblock);
  }
  pipe(my $hear, my $told);
  fcntl($hear, $f_setfl, $o_nonblock);
  my $pid = fork();
  return tell_("F", $job, pack("NC", $!+0, 0)) if !defined $pid;
  child($told, \@write, @_) if $pid == 0;
  $jobs{$pid} = $job;
  $starting{fileno($hear)} = [$hear, $job, $pid];
  for my $fd (1, 2) {
    next unless $read[$fd];
    $out{fileno($read[$fd])} = [$read[$fd], $job, $fd == 1 ? "O" : "E", 0];
    $outs{$job}{fileno($read[$fd])} = 1;
  }
}
my $buffer = "";
for (;;) {
  say_() if length $said;
  my $ready = "";
  vec($ready, $_, 1) = 1 for 0, fileno($wake_r), keys %starting, grep { $out{$_}[3] < $window } keys %out;
  next if select($ready, undef, undef, undef) < 0;
  started(grep { vec($ready, $_, 1) } keys %starting);
  pass($_) for grep { vec($ready, $_, 1) } keys %out;
  if (vec($ready, fileno($wake_r), 1)) {
    sysread($wake_r, my $x, 4096);
    reap();
  }
  next unless vec($ready, 0, 1);
  last unless sysread(STDIN, $buffer, 1 << 20, length $buffer);
  while (length($buffer) >= 4 && length($buffer) >= 4 + (my $size = unpack("N", $buffer))) {
    my ($what, @fields) = unpack("(N/a)*", substr($buffer, 4, $size));
    substr($buffer, 0, 4 + $size) = "";
    if ($what eq "start") { begin(@fields) }
    elsif ($what eq "close") { shut_all($fields[0]) }
    else { $out{$_}[2] eq $fields[1] and $out{$_}[3] -= $fields[2] for keys %{$outs{$fields[0]} || {}} }
  }
}
shut_all($_) for keys %outs;
# Nobody is there any more to answer for what was started.
sub all { my ($signal) = @_; kill($signal, map { -$_ } keys %jobs); kill($signal, grep { $_ > 0 } orphans()) }
all("TERM"); all("CONT");
for (my $waited = 0; reap() >= 0; $waited += 10) {
  all("KILL") if $waited >= $grace;
  select(undef, undef, undef, 0.01);
}
`

/** wait4, prctl, setsid, dup3, setuid, setgid, exit_group. */
const systemCalls: Readonly<Record<string, ReadonlyArray<number>>> = {
  x64: [61, 157, 112, 292, 105, 106, 231],
  arm64: [260, 167, 157, 24, 146, 144, 94]
}

const errno = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]))
const signals = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name as NodeJS.Signals])
)

const flag = { pipe: "p", inherit: "i", ignore: "n" } as const
/** A letter, the job, the length of what follows. */
const headSize = 9
/** How many bytes of a child's pipe may be on their way to us, or wait here. */
const window = 256 * 1024
/** What we have taken is told of when it is so much. */
const ackSize = window / 2

/** What a child writes to one of its pipes. */
interface Flow {
  readonly take: (bytes: Buffer) => void
  /** Nothing more comes. */
  readonly end: () => void
}

interface Job {
  readonly request: Request
  readonly listener: Listener
  readonly flows: { O?: Flow; E?: Flow }
  stdin: Socket | undefined
  /** Pipes that are still to end. */
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
  const calls = systemCalls[process.arch]
  if (process.platform !== "linux" || calls === undefined || !perl()) return undefined
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
    job.stdin?.destroy()
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

  const send = (fields: ReadonlyArray<string>) => server!.stdin!.write(message(fields))

  /** While the listener has paused it, what comes waits here; no more than the window is on its way. */
  const makeFlow = (id: number, job: Job, letter: "O" | "E"): Flow => {
    const waiting: Array<Buffer> = []
    let paused = false
    let ended = false
    let taken = 0
    const from = {
      pause: () => {
        paused = true
      },
      resume: () => {
        paused = false
        while (!paused && waiting.length > 0) deliver(waiting.shift()!)
        over()
      }
    }
    const deliver = (bytes: Buffer) => {
      taken += bytes.length
      job.listener.data(letter === "O" ? "stdout" : "stderr", bytes, from)
      if (taken < ackSize || ended) return
      send(["ack", String(id), letter, String(taken)])
      taken = 0
    }
    const over = () => {
      if (!ended || paused || waiting.length > 0 || job.flows[letter] === undefined) return
      delete job.flows[letter]
      job.open--
      finish(id, job)
    }
    return {
      take: (bytes) => {
        if (paused) waiting.push(bytes)
        else deliver(bytes)
      },
      end: () => {
        ended = true
        over()
      }
    }
  }

  // For children that are fed.
  const pipes = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => undefined) // a child that closes its stdin early, or is gone
    socket.on("end", () => socket.destroy())
    socket.once("readable", () => {
      const head: Buffer | null = socket.read(4)
      const job = head === null ? undefined : jobs.get(head.readUInt32BE(0))
      if (job === undefined) return void socket.destroy()
      job.stdin = socket
      socket.resume()
      job.listener.input(socket)
    })
  })

  const onEvent = (letter: string, id: number, what: Buffer) => {
    spoke = true
    const job = jobs.get(id)
    if (job === undefined) return
    switch (letter) {
      case "P":
        return job.listener.started(what.readUInt32BE(0))
      case "F": {
        const code = what[4] === 1 ? "ENOFOLDER" : (errno.get(what.readUInt32BE(0)) ?? "")
        return fail(id, job, code, code)
      }
      case "o":
        return job.flows.O?.end()
      case "e":
        return job.flows.E?.end()
      default: {
        const status = what.readInt32BE(0)
        const [user, system, peak] = [4, 12, 20].map((at) => Number(what.readBigInt64BE(at)))
        const alone = what[28] === 0
        job.exited = true
        job.listener.exited({
          alone,
          code: (status & 0x7f) === 0 ? (status >> 8) & 0xff : null,
          signal: signals.get(status & 0x7f) ?? null,
          usage: { user: user! / 1000, system: system! / 1000, peakMemory: peak! * 1024 }
        })
        if (alone) for (const flow of Object.values(job.flows)) flow.end()
        finish(id, job)
      }
    }
  }

  // Events come as they are cut by the pipe. What a child wrote is passed on as it comes, the rest when it is whole.
  let rest: Buffer = Buffer.alloc(0)
  let body = 0 // how much of what a child wrote is still to come, of which flow
  let flow: Flow | undefined
  const onBytes = (chunk: Buffer) => {
    let bytes: Buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (bytes.length > 0) {
      if (body > 0) {
        const part = bytes.subarray(0, body)
        body -= part.length
        bytes = bytes.subarray(part.length)
        flow?.take(part)
        continue
      }
      if (bytes.length < headSize) break
      const letter = String.fromCharCode(bytes[0]!)
      const id = bytes.readUInt32BE(1)
      const size = bytes.readUInt32BE(5)
      if (letter === "O" || letter === "E") {
        body = size
        flow = jobs.get(id)?.flows[letter]
      } else {
        if (bytes.length < headSize + size) break
        onEvent(letter, id, bytes.subarray(headSize, headSize + size))
      }
      bytes = bytes.subarray(letter === "O" || letter === "E" ? headSize : headSize + size)
    }
    rest = bytes
  }

  const ready = new Promise<void>((resolve, reject) => {
    pipes.once("error", reject)
    pipes.listen(path, () => {
      pipes.unref()
      // Its own session: a Ctrl-C of the terminal is for us to answer.
      server = spawn("perl", ["-e", script, path, ...[grace, window, ...calls].map(String)], {
        stdio: ["pipe", "pipe", "inherit", 0, 1],
        detached: true
      })
      server.stdout!.on("data", onBytes)
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
      const close = () => {
        job.stdin?.destroy()
        if (!jobs.delete(id)) return
        if (job.open > 0) send(["close", String(id)])
        idle()
      }
      const job: Job = { request, listener, flows: {}, stdin: undefined, open: 0, exited: false, close }
      for (const [letter, kind] of [
        ["O", request.stdout],
        ["E", request.stderr]
      ] as const) {
        if (kind !== "pipe") continue
        job.open++
        job.flows[letter] = makeFlow(id, job, letter)
      }
      if (died !== undefined) {
        listener.failed("", died)
        return () => undefined
      }
      if (jobs.size === 0) busy()
      jobs.set(id, job)
      const fields = startFields(id, request)
      if (started) send(fields)
      else {
        ready.then(
          () => {
            started = true
            send(fields)
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

const startFields = (
  id: number,
  { args, cwd, env, extendEnv, file, gid, stderr, stdin, stdout, uid }: Request
): ReadonlyArray<string> => [
  "start",
  String(id),
  flag[stdin] + flag[stdout] + flag[stderr] + (extendEnv ? "e" : "-"),
  cwd,
  String(uid ?? ""),
  String(gid ?? ""),
  String(args.length + 1),
  file,
  ...args,
  ...Object.entries(env).map(([name, value]) => `${name}=${value}`)
]

/** Fields, each with its length before it, and the length of all before them. */
const message = (fields: ReadonlyArray<string>): Buffer => {
  const sizes = fields.map((field) => Buffer.byteLength(field))
  const size = sizes.reduce((sum, size) => sum + 4 + size, 0)
  const bytes = Buffer.allocUnsafe(4 + size)
  let at = bytes.writeUInt32BE(size)
  for (const [i, field] of fields.entries()) {
    at = bytes.writeUInt32BE(sizes[i]!, at)
    at += bytes.write(field, at)
  }
  return bytes
}
