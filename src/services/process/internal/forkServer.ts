import { type ChildProcessByStdio, spawn } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { createServer, type Server as NetServer, type Socket } from "node:net"
import { constants, tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import type { Readable, Writable } from "node:stream"
import { countBuffer } from "../../host/HeapTuning.js"
import * as RawText from "../../text/RawText.js"
import * as direct from "./direct.js"
import type { Listener, Request, Spawner } from "./spawner.js"
import * as spawner from "./spawner.js"

// This file stays whole, longer than others: it is one protocol with both of its ends, the Perl half and the Node half,
// and a smaller helper is to replace it as a whole.
//
// A fork copies the page tables of the forking process, and Node's are large: 2 ms a process, in which nothing else runs.
// So a small process, a fifth of Node's size, forks instead. It has three more purposes: it outlives this process when
// that is killed, and then ends the children; it is the subreaper of orphaned descendants; and it reads the resource
// usage of a process (wait4). It is written in Perl, which is part of every Debian and Fedora; without Perl `direct` is
// used. `npm run bench -- processes` measures. It loads no module, because each page that it has makes its forks slower,
// and it uses `syscall` with numbers, because a Perl handle costs ten times the system call.
//
// Requests go to its stdin: a length, then fields separated by null bytes. Events come from its stdout: a letter, the
// job, the length of the body. The output of children comes that way too, because a connection each costs more than a
// small job. Flow control: of each pipe at most a window of bytes is in flight; acknowledged bytes make room for more. A
// child with a piped stdin connects it to a socket of Node, and names its job in the first four bytes.
const script = String.raw`
use strict;
my ($unset, $grace, $window, $read, $pread, $close, $pipe2, $fcntl, $dup3, $signalfd, $sigmask, $wait4, $prctl, $setsid, $setuid, $setgid, $chdir, $execve, $write, $exit) =
  map { /^\d+$/ ? $_ + 0 : $_ } @ARGV;
my ($f_setfd, $f_getfl, $f_setfl, $o_nonblock, $o_cloexec, $eintr) = (2, 3, 4, 2048, 524288, 4);
$0 = "aio fork server";
delete @ENV{split " ", $unset};
syscall($prctl, 36, 1); # PR_SET_CHILD_SUBREAPER
my %jobs; # by pid
my %starting; # by descriptor: a pipe that exec closes, or that carries its error
my %out; # by descriptor: a pipe that a child writes to
my %outs; # by job: the descriptors of its pipes
my $said = ""; # events that are still to be sent
my $urgent = 0; # whether one of them is more than a start
my @later; # requests that wait, in order: the first lacks descriptors or processes
my $freed = 0; # whether some may have been freed since, and for how many turns
my @kept; # this process's own stdin and stdout, for children that inherit them
for my $fd (3, 4) { open(my $h, "+<&=", $fd) or next; fcntl($h, $f_setfd, 1); push @kept, $h }
open(my $events, ">&", 1);
open(my $null, "<", "/dev/null");
open(my $children, "<", "/proc/$$/task/$$/children");
my $path; # of the socket for piped stdins
my $room = "\0" x 16384;
my ($status, $used) = ("\0" x 4, "\0" x 144);
$SIG{FPE} = "DEFAULT"; # Perl ignores it, and execve would pass that on to the child
# SIGCHLD is read from a signalfd; SIGPIPE is blocked, so that a broken pipe is an error of the write.
my ($mask, $before) = (pack("Q", 1 << 16 | 1 << 12), "\0" x 8);
syscall($sigmask, 0, $mask, $before, 8);
my $ends = syscall($signalfd, -1, $mask, 8, $o_cloexec | $o_nonblock);
die "no signalfd" if $ends < 0;
my $watched = ""; # by descriptor: the set for select
vec($watched, $_, 1) = 1 for 0, $ends;
sub tell_ { my ($kind, $job, $what) = @_; $said .= pack("a1NN", $kind, $job, length $what) . $what; $urgent ||= $kind ne "P" }
sub say_ {
  for (my $at = 0; $at < length $said; ) {
    my $sent = syswrite($events, $said, length($said) - $at, $at);
    if (defined $sent) { $at += $sent } elsif ($! != $eintr) { last }
  }
  $said = "";
  $urgent = 0;
}
# Two descriptors; the first is non-blocking.
sub pipe_ {
  my $both = "\0" x 8;
  syscall($pipe2, $both, $o_cloexec) == 0 or return;
  my @both = unpack("ii", $both);
  syscall($fcntl, $both[0], $f_setfl, $o_nonblock);
  return @both;
}
# Descriptors are hash keys, and syscall would take a string for an address: hence + 0.
sub read_ { my $n = syscall($read, $_[0] + 0, $room, 16384); $n < 0 ? undef : $n }
sub drop { vec($watched, $_[0], 1) = 0; syscall($close, $_[0] + 0); $freed ||= 1 }
sub shut { my ($fd) = @_; my $pipe = delete $out{$fd} or return; drop($fd); my $of = $outs{$pipe->[0]} or return; delete $of->{$fd}; %$of or delete $outs{$pipe->[0]} }
sub shut_all { my ($job) = @_; shut($_) for keys %{$outs{$job} || {}}; delete $outs{$job} }
# Forwards output of a child; false when there is no more, now or for good.
sub pass {
  my ($fd) = @_;
  my $pipe = $out{$fd};
  my $n = read_($fd);
  return 0 unless defined $n;
  if ($n == 0) { tell_(lc $pipe->[1], $pipe->[0], ""); shut($fd); return 0 }
  tell_($pipe->[1], $pipe->[0], substr($room, 0, $n));
  $pipe->[2] += $n;
  vec($watched, $fd, 1) = 0 if $pipe->[2] >= $window;
  return 1;
}
# Orphaned descendants are children of this subreaper: when there are none, the ended processes left none behind.
sub orphans {
  return -1 unless $children;
  my ($all, $at) = ("", 0);
  while ((my $n = syscall($pread, fileno($children), $room, 16384, $at)) > 0) { $all .= substr($room, 0, $n); $at += $n }
  grep { !exists $jobs{$_} } split " ", $all;
}
sub reap {
  my @ended;
  for (;;) {
    my $pid = syscall($wait4, -1, $status, 1, $used);
    if ($pid <= 0) {
      my $left = @ended && orphans() ? 1 : 0;
      for (@ended) {
        my ($job, @what) = @$_;
        if (!$left && $outs{$job}) { # no other process can write to them
          for (keys %{$outs{$job}}) { 1 while pass($_) }
          shut_all($job);
        }
        tell_("X", $job, pack("Nl>Cd>3", @what[0, 1], $left, @what[2..4]));
      }
      return $pid;
    }
    my $code = unpack("i", $status);
    # A reaped pid has exec'd, unless it exited with 127 because exec failed; then the error pipe decides.
    for (keys %starting) {
      next if $starting{$_}[1] != $pid;
      if ($code == 127 << 8) { started($_) } else { delete $starting{$_}; drop($_) }
    }
    my $job = delete $jobs{$pid};
    $freed ||= 1;
    next unless defined $job;
    my @u = unpack("q5", $used);
    push @ended, [$job, $pid, $code, $u[0] * 1000000 + $u[1], $u[2] * 1000000 + $u[3], $u[4]];
  }
}
sub started {
  for my $fd (@_) {
    my ($job, $pid) = @{$starting{$fd}};
    my $n = read_($fd);
    next unless defined $n; # exec is still to come
    delete $starting{$fd};
    drop($fd);
    if ($n) { delete $jobs{$pid}; shut_all($job); tell_("F", $job, substr($room, 0, $n)) }
    else { tell_("P", $job, pack("N", $pid)) }
  }
}
# The environment of a child as execve takes it: this process's, where requested, and the given variables.
my @ours = map { "$_=$ENV{$_}" } keys %ENV;
my %rest_of_ours; # by the names of the given variables
sub environment {
  my ($extends, $given) = @_;
  my $rest = "";
  if ($extends) {
    my @names = map { substr $_, 0, index($_, "=") } @$given;
    $rest = $rest_of_ours{join "\0", @names} //= do {
      my %given = map { $_ => 1 } @names;
      pack("p*", grep { !$given{substr $_, 0, index($_, "=")} } @ours);
    };
  }
  return $rest . pack("p*", @$given, undef);
}
# The paths at which execvp would look for a program.
sub places {
  my ($file, $extends, $given) = @_;
  return $file if $file =~ m{/} || $file eq "";
  my $path = $extends ? $ENV{PATH} : undef;
  for (@$given) { $path = $1 if /^PATH=(.*)/s }
  $path //= "/bin:/usr/bin";
  return map { ($_ eq "" ? "." : $_) . "/$file" } length $path ? split(/:/, $path, -1) : "";
}
# The first path failed: tries the others. A file without an interpreter line is run by the shell.
sub search {
  my ($argv, $envp, $places, @args) = @_;
  my ($shell, $denied) = ("/bin/sh", 0); # syscall takes no literal, which it might write to
  for my $place (@$places) {
    syscall($execve, $place, $argv, $envp);
    syscall($execve, $shell, pack("p*", $shell, $place, @args[1 .. $#args], undef), $envp) if $! == 8; # ENOEXEC
    $denied = $!+0 if $! == 13;
    last if $! != 2 && $! != 13 && $! != 20; # ENOENT, EACCES, ENOTDIR
  }
  $! = $denied if $denied;
}
# Connects stdin to Node's socket.
sub feed {
  my ($job) = @_;
  my $h;
  socket($h, 1, 1, 0) && connect($h, pack("Sa*", 1, $path . "\0")) or return 0;
  syswrite($h, pack("N", $job));
  return syscall($dup3, fileno($h), 0, 0) >= 0;
}
# Node made the inherited descriptors non-blocking, which programs do not expect.
sub block {
  for my $fd (@_) {
    my $had = syscall($fcntl, $fd, $f_getfl, 0);
    syscall($fcntl, $fd, $f_setfl, $had & ~$o_nonblock) if $had >= 0;
  }
  return 1;
}
sub begin {
  my ($job, $flags, $cwd, $uid, $gid, $n, @given) = @_;
  my @args = splice(@given, 0, $n);
  my ($in, $out, $err, $from) = unpack("(a1)4", $flags);
  my @places = places($args[0], $from eq "e", \@given);
  my ($first, $argv, $envp) = ($places[0], pack("p*", @args, undef), environment($from eq "e", \@given));
  my @inherited = grep { substr($flags, $_, 1) eq "i" } 0, 1, 2;
  my $stdin = $in eq "i" ? 3 : fileno($null);
  my ($read_out, $stdout) = $out eq "i" ? (undef, 4) : pipe_();
  my ($read_err, $stderr) = $err eq "i" ? (undef, 2) : pipe_();
  my ($hear, $told) = pipe_();
  my $pid = defined $told && defined $stdout && defined $stderr ? fork() : undef;
  my ($errno, $where) = ($!+0, 0);
  if (defined $pid && $pid == 0) {
    # No loop and no variable on the common path: each page that is touched here is copied.
    syscall($sigmask, 2, $before, 0, 8);
    syscall($setsid);
    ($in eq "p" ? syscall($close, $hear) == 0 && feed($job) : syscall($dup3, $stdin, 0, 0) >= 0)
      && syscall($dup3, $stdout, 1, 0) >= 0
      && ($err eq "i" || syscall($dup3, $stderr, 2, 0) >= 0)
      && (!@inherited || block(@inherited))
      && ($gid eq "" || syscall($setgid, $gid + 0) >= 0)
      && ($uid eq "" || syscall($setuid, $uid + 0) >= 0)
      && (syscall($chdir, $cwd) >= 0 || !($where = 1))
      && syscall($execve, $first, $argv, $envp)
      && search($argv, $envp, \@places, @args);
    syscall($write, $told, pack("NC", $!+0, $where), 5);
    syscall($exit, 127);
  }
  $out eq "i" or !defined $stdout or syscall($close, $stdout);
  $err eq "i" or !defined $stderr or syscall($close, $stderr);
  defined $told and syscall($close, $told);
  if (!defined $pid) {
    defined $_ and syscall($close, $_) for $read_out, $read_err, $hear;
    # EAGAIN, ENFILE, EMFILE: the end of another job will free some.
    return 0 if (%jobs || %out || %starting) && grep { $errno == $_ } 11, 23, 24;
    return tell_("F", $job, pack("NC", $errno, 0));
  }
  $jobs{$pid} = $job;
  $starting{$hear} = [$job, $pid];
  vec($watched, $hear, 1) = 1;
  listen_($read_out, $job, "O") if defined $read_out;
  listen_($read_err, $job, "E") if defined $read_err;
  return 1;
}
sub listen_ {
  my ($fd, $job, $kind) = @_;
  $out{$fd} = [$job, $kind, 0];
  $outs{$job}{$fd} = 1;
  vec($watched, $fd, 1) = 1;
}
my $buffer = "";
for (;;) {
  # Short jobs end soon after their start: a small delay sends both events in one write.
  say_() if $urgent || keys %jobs < 2;
  my $found = select(my $ready = $watched, undef, undef, length $said ? 0.003 : @later && $freed ? 0.02 : undef);
  # Waiting requests start only on an idle turn: when all jobs end at once, they can be withdrawn first.
  if (@later && $freed && ($found <= 0 || $freed++ > 100)) {
    $freed = 0;
    shift @later while @later && begin(@{$later[0]});
  }
  if ($found <= 0) { say_(); next }
  started(grep { vec($ready, $_, 1) } keys %starting);
  pass($_) for grep { vec($ready, $_, 1) } keys %out;
  if (vec($ready, $ends, 1)) {
    1 while syscall($read, $ends, $room, 16384) == 16384;
    reap();
  }
  next unless vec($ready, 0, 1);
  last unless sysread(STDIN, $buffer, 1 << 16, length $buffer);
  while (length($buffer) >= 4 && length($buffer) >= 4 + (my $size = unpack("N", $buffer))) {
    my ($what, @fields) = split /\0/, substr($buffer, 4, $size), -1;
    substr($buffer, 0, 4 + $size) = "";
    if ($what eq "start") { push @later, \@fields if @later || !begin(@fields) }
    elsif ($what eq "withdraw") {
      my $before = @later;
      @later = grep { $_->[0] ne $fields[0] } @later;
      tell_("F", $fields[0], pack("NC", 125, 0)) if @later < $before; # ECANCELED
    }
    elsif ($what eq "close") { shut_all($fields[0]) }
    elsif ($what eq "feed") { $path = $fields[0] }
    else {
      for (keys %{$outs{$fields[0]} || {}}) {
        next if $out{$_}[1] ne $fields[1];
        $out{$_}[2] -= $fields[2];
        vec($watched, $_, 1) = 1 if $out{$_}[2] < $window;
      }
    }
  }
}
shut_all($_) for keys %outs;
# The socket and its folder are left over when Node was killed.
if (defined $path) { unlink $path; rmdir substr $path, 0, rindex($path, "/") }
# Node is gone: ends all children and their orphans.
sub all { my ($signal) = @_; kill($signal, map { -$_ } keys %jobs); kill($signal, grep { $_ > 0 } orphans()) }
all("TERM"); all("CONT");
for (my $waited = 0; reap() >= 0; $waited += 10) {
  all("KILL") if $waited >= $grace;
  select(undef, undef, undef, 0.01);
}
syscall($exit, 0);
`

/**
 * These make each fork cheaper: library functions are looked up once, not in each child, and no locale tables are
 * copied. For the server only.
 */
const settings = { LD_BIND_NOW: "1", PERL_SKIP_LOCALE_INIT: "1" }

/**
 * read, pread64, close, pipe2, fcntl, dup3, signalfd4, rt_sigprocmask, wait4, prctl, setsid, setuid, setgid, chdir,
 * execve, write, exit_group.
 */
const systemCalls: Readonly<Record<string, ReadonlyArray<number>>> = {
  x64: [0, 17, 3, 293, 72, 292, 289, 14, 61, 157, 112, 105, 106, 80, 59, 1, 231],
  arm64: [63, 67, 57, 59, 25, 24, 74, 135, 260, 167, 157, 146, 144, 49, 221, 64, 94]
}

const errno = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]))
const signals = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name as NodeJS.Signals])
)

const letters = { stdout: "O", stderr: "E" } as const
const flag = { pipe: "p", inherit: "i", ignore: "n" } as const
/** A letter, the job, the length of the body. */
const headSize = 9
/** Most bytes of a child's pipe that are in flight or wait here. */
const window = 256 * 1024
/** Delivered bytes are acknowledged in portions of this size. */
const ackSize = window / 2

interface FlowHost {
  /** Acknowledges `size` bytes. */
  readonly taken: (id: number, stream: "stdout" | "stderr", size: number) => void
  readonly ended: (id: number, job: Job) => void
}

/** The output of a child on one of its pipes. While the listener has paused it, output waits here. */
class Flow {
  private readonly waiting: Array<Buffer> = []
  private paused = false
  private ended = false
  private taken = 0
  constructor(
    private readonly host: FlowHost,
    private readonly id: number,
    private readonly job: Job,
    private readonly stream: "stdout" | "stderr"
  ) {}
  take(bytes: Buffer): void {
    if (this.paused) this.waiting.push(bytes)
    else this.deliver(bytes)
  }
  /** The pipe has ended. */
  end(): void {
    this.ended = true
    this.over()
  }
  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
    while (!this.paused && this.waiting.length > 0) this.deliver(this.waiting.shift()!)
    this.over()
  }
  private deliver(bytes: Buffer): void {
    this.taken += bytes.length
    this.job.listener.data(this.stream, bytes, this)
    if (this.taken < ackSize || this.ended) return
    this.host.taken(this.id, this.stream, this.taken)
    this.taken = 0
  }
  private over(): void {
    if (!this.ended || this.paused || this.waiting.length > 0 || this.job[this.stream] !== this) return
    this.job[this.stream] = undefined
    this.host.ended(this.id, this.job)
  }
}

interface Job {
  readonly request: Request
  readonly listener: Listener
  /** The pipes that have not ended. */
  stdout: Flow | undefined
  stderr: Flow | undefined
  stdin: Socket | undefined
  started: boolean
  exited: boolean
  handle: spawner.Handle
}

const perl = (): boolean =>
  (process.env["PATH"] ?? "").split(delimiter).some((folder) => existsSync(join(folder, "perl")))

/** Starts the server; undefined without Perl. As in `direct.open`, but `close` waits until all children are gone. */
export const open = (grace: number, marker: string): Spawner | undefined => {
  const calls = systemCalls[process.arch]
  if (process.platform !== "linux" || calls === undefined || !perl()) return undefined
  const jobs = new Map<number, Job>()
  let last = 0
  let spoke = false
  let died: string | undefined
  let instead: Spawner | undefined // when this Perl lacks a feature that the script needs
  const spawnDirectly: Spawner["spawn"] = (request, listener) => {
    instead ??= direct.open(grace, marker)
    return instead.spawn(request, listener)
  }

  const finish = (id: number, job: Job) => {
    if (!job.exited || job.stdout !== undefined || job.stderr !== undefined) return
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
  // Running jobs keep this process alive; an idle server does not.
  const idle = () => {
    if (jobs.size > 0) return
    server.unref()
    ;(server.stdout as unknown as Socket).unref()
  }
  const busy = () => {
    server.ref()
    ;(server.stdout as unknown as Socket).ref()
  }

  // Requests of one turn go in one write: each write wakes the server, which then competes for the processor.
  let requests: Array<Buffer> = []
  const flush = () => {
    const all = requests.length === 1 ? requests[0]! : Buffer.concat(requests)
    requests = []
    server.stdin.write(all)
  }
  const send = (fields: ReadonlyArray<string>) => {
    if (requests.push(message(fields)) === 1) setImmediate(flush)
  }

  const host: FlowHost = {
    taken: (id, stream, size) => send(["ack", String(id), letters[stream], String(size)]),
    ended: finish
  }

  let folder: string | undefined
  let pipes: NetServer | undefined
  /** Opens the socket for piped stdins. */
  const listen = () =>
    new Promise<void>((resolve, reject) => {
      folder = mkdtempSync(join(tmpdir(), "aio-"))
      const path = join(folder, "socket")
      pipes = createServer({ allowHalfOpen: true }, (socket) => {
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
      pipes.once("error", reject)
      pipes.listen(path, () => {
        pipes!.unref()
        send(["feed", path])
        resolve()
      })
    })
  let listening: Promise<void> | undefined

  const start = (job: Job, pid: number) => {
    if (job.started) return
    job.started = true
    job.listener.started(pid)
  }

  const onEvent = (letter: string, id: number, from: Buffer, at: number) => {
    spoke = true
    const job = jobs.get(id)
    if (job === undefined) return
    switch (letter) {
      case "P":
        return start(job, from.readUInt32BE(at))
      case "F": {
        const code = from[at + 4] === 1 ? "ENOFOLDER" : (errno.get(from.readUInt32BE(at)) ?? "")
        return fail(id, job, code, code)
      }
      case "o":
        return job.stdout?.end()
      case "e":
        return job.stderr?.end()
      default: {
        const status = from.readInt32BE(at + 4)
        const alone = from[at + 8] === 0
        start(job, from.readUInt32BE(at))
        job.exited = true
        job.listener.exited({
          alone,
          code: (status & 0x7f) === 0 ? (status >> 8) & 0xff : null,
          signal: signals.get(status & 0x7f) ?? null,
          usage: {
            user: from.readDoubleBE(at + 9) / 1000,
            system: from.readDoubleBE(at + 17) / 1000,
            peakMemory: from.readDoubleBE(at + 25) * 1024
          }
        })
        if (alone) {
          job.stdout?.end()
          job.stderr?.end()
        }
        finish(id, job)
      }
    }
  }

  // The pipe cuts events anywhere. Output is delivered as it arrives, other events once they are complete.
  let rest: Buffer | undefined
  let body = 0 // the bytes of output that are still to come, and the flow that they belong to
  let flow: Flow | undefined
  const onBytes = (chunk: Buffer) => {
    countBuffer(chunk.length)
    const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk])
    rest = undefined
    for (let at = 0; at < bytes.length; ) {
      if (body > 0) {
        const part = bytes.subarray(at, at + body)
        body -= part.length
        at += part.length
        flow?.take(part)
        continue
      }
      const letter = String.fromCharCode(bytes[at]!)
      const output = letter === "O" || letter === "E"
      const left = bytes.length - at - headSize
      const size = left < 0 ? 0 : bytes.readUInt32BE(at + 5)
      if (left < (output ? 0 : size)) {
        rest = bytes.subarray(at)
        return
      }
      const id = bytes.readUInt32BE(at + 1)
      at += headSize
      if (output) {
        body = size
        flow = jobs.get(id)?.[letter === "O" ? "stdout" : "stderr"]
      } else {
        onEvent(letter, id, bytes, at)
        at += size
      }
    }
  }

  const own = Object.keys(settings).filter((name) => process.env[name] === undefined)
  // Its own session: a Ctrl-C of the terminal is for this process to handle.
  const server = spawn("perl", ["-e", script, own.join(" "), ...[grace, window, ...calls].map(String)], {
    env: { ...settings, ...process.env },
    stdio: ["pipe", "pipe", "inherit", 0, 1],
    detached: true
  }) as ChildProcessByStdio<Writable, Readable, null>
  if (server.pid === undefined) {
    server.once("error", () => undefined) // for instance for lack of descriptors
    return undefined
  }
  server.stdout.on("data", onBytes)
  server.stdin.on("error", () => undefined)
  ;(server.stdin as unknown as Socket).unref()
  const lost = (why: string) => {
    died = why
    for (const [id, job] of jobs) {
      if (spoke) fail(id, job, job.started ? spawner.lost : "", why)
      else {
        jobs.delete(id)
        job.handle = spawnDirectly(job.request, job.listener)
      }
    }
  }
  server.once("error", (error) => lost(error.message))
  server.once("exit", (code, signal) => lost(`the fork server has ended (${signal ?? `exit code ${code}`})`))
  idle()

  return {
    works: () => died === undefined || !spoke,
    spawn: (request, listener) => {
      if (died !== undefined && !spoke) return spawnDirectly(request, listener)
      const id = ++last
      const fields = startFields(id, request)
      const close = () => {
        job.stdin?.destroy()
        if (!jobs.delete(id)) return
        if (job.stdout !== undefined || job.stderr !== undefined) send(["close", String(id)])
        idle()
      }
      let sent = request.stdin !== "pipe"
      const withdraw = () => {
        if (!jobs.has(id) || job.started) return
        if (sent) send(["withdraw", String(id)])
        else fail(id, job, "ECANCELED", "ECANCELED")
      }
      const job: Job = {
        request,
        listener,
        stdin: undefined,
        stdout: undefined,
        stderr: undefined,
        started: false,
        exited: false,
        handle: { close, withdraw }
      }
      if (request.stdout === "pipe") job.stdout = new Flow(host, id, job, "stdout")
      if (request.stderr === "pipe") job.stderr = new Flow(host, id, job, "stderr")
      if (died !== undefined) {
        listener.failed("", died)
        return spawner.nothing
      }
      if (jobs.size === 0) busy()
      jobs.set(id, job)
      if (request.stdin !== "pipe") send(fields)
      else {
        listening ??= listen()
        listening.then(
          () => {
            sent = true
            if (jobs.has(id)) send(fields)
          },
          (error: Error) => fail(id, job, "", error.message)
        )
      }
      return { close: () => job.handle.close(), withdraw: () => job.handle.withdraw() }
    },
    close: async () => {
      await listening?.catch(() => undefined)
      pipes?.close()
      if (died === undefined) {
        server.ref()
        const gone = new Promise((resolve) => server.once("exit", resolve))
        setImmediate(() => server.stdin.end())
        await gone
      }
      await instead?.close()
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
    }
  }
}

const startFields = (
  id: number,
  { args, cwd, env, extendEnv, file, gid, stderr, stdin, stdout, uid }: Request
): ReadonlyArray<string> => {
  const fields = [
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
  if (fields.some((field) => field.includes("\0"))) {
    throw new Error("its words, folder and environment must not contain null bytes")
  }
  return fields
}

/** The fields, separated by null bytes, after their length. */
const message = (fields: ReadonlyArray<string>): Buffer => {
  const text = RawText.encode(fields.join("\0"))
  const bytes = Buffer.allocUnsafe(4 + text.length)
  bytes.writeUInt32BE(text.length)
  text.copy(bytes, 4)
  return bytes
}
