import { constants } from "node:fs"
import { createRequire } from "node:module"
import { endianness, constants as os } from "node:os"
import type { Ended } from "./backend.js"

// The only file that knows koffi, an optional package that calls C functions: libc's posix_spawn and its kin, their
// signatures, the values of C macros, and the layout of C structures for each platform.

/** A process to spawn: C strings and descriptors. */
export interface Plan {
  readonly path: Buffer
  readonly argv: ReadonlyArray<Buffer>
  readonly envp: ReadonlyArray<Buffer>
  /** The folder to change to, if it is another than this process's. */
  readonly cwd: Buffer | undefined
  /** The descriptors that become 0, 1 and 2; undefined for /dev/null. */
  readonly stdio: ReadonlyArray<number | undefined>
}

export type Libc = ReturnType<typeof open>

/** The values of macros, and what else differs, with the headers that define them. Linux: glibc and musl agree. */
export interface Platform {
  /** `POSIX_SPAWN_SETSID`: spawn.h. */
  readonly setSession: number
  /**
   * `POSIX_SPAWN_CLOEXEC_DEFAULT`: Darwin's sys/spawn.h. Descriptors that are not passed on explicitly are closed; where
   * pipes cannot be made so atomically.
   */
  readonly closeByDefault: number
  /** `O_CLOEXEC`: bits/fcntl-linux.h (asm-generic/fcntl.h); Darwin's sys/fcntl.h. */
  readonly closeOnExec: number
  /** Whether unistd.h has `pipe2`. */
  readonly pipe2: boolean
  /** Bytes of `tv_usec`, a `suseconds_t`: bits/types.h; Darwin's sys/_types.h. */
  readonly microseconds: 4 | 8
  /** Bytes of a unit of `ru_maxrss`: `man 2 getrusage` of each. */
  readonly memoryUnit: number
  /** `PR_SET_CHILD_SUBREAPER`: linux/prctl.h. */
  readonly subreaper: number | undefined
}

export const platforms: Partial<Record<NodeJS.Platform, Platform>> = {
  linux: {
    setSession: 0x80,
    closeByDefault: 0,
    closeOnExec: 0o2000000,
    pipe2: true,
    microseconds: 8,
    memoryUnit: 1024,
    subreaper: 36
  },
  darwin: {
    setSession: 0x400,
    closeByDefault: 0x4000,
    closeOnExec: 0x1000000,
    pipe2: false,
    microseconds: 4,
    memoryUnit: 1,
    subreaper: undefined
  }
}
/** Architectures of 64 bits, little-endian, in whose layout the structures below are read. */
const architectures = ["x64", "arm64", "riscv64", "loong64"]

// The same on both platforms.
/** `POSIX_SPAWN_SETSIGDEF` and `POSIX_SPAWN_SETSIGMASK`: spawn.h; Darwin's sys/spawn.h. */
export const [setSignalDefaults, setSignalMask] = [0x4, 0x8]
/** `F_SETFD`, `F_GETFL` and `F_SETFL`: bits/fcntl-linux.h; Darwin's sys/fcntl.h. */
const [setDescriptorFlags, getStatusFlags, setStatusFlags] = [2, 3, 4]
/** `WNOHANG`: bits/waitflags.h; Darwin's sys/wait.h. */
const noHang = 1
/** `POLLERR`: bits/poll.h; Darwin's sys/poll.h. Of a pipe's writing end: it has no reader. */
const pollError = 0x8
/**
 * Bytes for any platform's posix_spawnattr_t, posix_spawn_file_actions_t (glibc and musl: structures of at most 336; Darwin:
 * pointers), sigset_t (128; Darwin 4) and struct rusage (glibc and Darwin 144, musl 272).
 */
export const opaque = 1024

type Native = ((...args: ReadonlyArray<unknown>) => number) & {
  readonly async: (...args: ReadonlyArray<unknown>) => void
}

const open = (platform: Platform) => {
  const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi")
  const library = koffi.load(null)
  const native = (signature: string) => library.func(signature) as unknown as Native
  const optional = (signature: string): Native | undefined => {
    try {
      return native(signature)
    } catch {
      return undefined
    }
  }
  const posixSpawn = native("int posix_spawn(void *, void *, void *, void *, void *, void *)")
  const actionsInit = native("int posix_spawn_file_actions_init(void *)")
  const actionsDestroy = native("int posix_spawn_file_actions_destroy(void *)")
  const addDup2 = native("int posix_spawn_file_actions_adddup2(void *, int, int)")
  const addOpen = native("int posix_spawn_file_actions_addopen(void *, int, const char *, int, int)")
  const addChdir = optional("int posix_spawn_file_actions_addchdir_np(void *, void *)")
  const setFlags = native("int posix_spawnattr_setflags(void *, short)")
  const setDefaults = native("int posix_spawnattr_setsigdefault(void *, void *)")
  const setMask = native("int posix_spawnattr_setsigmask(void *, void *)")
  const attributesInit = native("int posix_spawnattr_init(void *)")
  const wait4 = native("int wait4(int, void *, int, void *)")
  const fcntl = native("int fcntl(int, int, ...)")
  const pollOnce = native("int poll(void *, unsigned long, int)")
  const pipe2 = platform.pipe2 ? native("int pipe2(void *, int)") : undefined
  const pipe = native("int pipe(void *)")
  const prctl = optional("int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)")

  const attributes = Buffer.alloc(opaque)
  attributesInit(attributes)
  setFlags(attributes, platform.setSession | platform.closeByDefault | setSignalDefaults | setSignalMask)
  setDefaults(attributes, Buffer.alloc(opaque, 0xff))
  setMask(attributes, Buffer.alloc(opaque))

  /**
   * One block with room for a pid, both arrays of C strings, each ended by NULL, and the strings. V8 moves small buffers
   * of its own, and another thread reads these: an ArrayBuffer stays where it is.
   */
  const blockOf = ({ argv, cwd, envp, path }: Plan) => {
    const strings = [...argv, ...envp, path, ...(cwd === undefined ? [] : [cwd])]
    const tables = 8 * (argv.length + envp.length + 2)
    const size = strings.reduce((sum, { length }) => sum + length, 8 + tables)
    const block = Buffer.from(new ArrayBuffer(size))
    const base = koffi.address(block)
    let at = 8 + tables
    let entry = 8
    for (const [i, string] of strings.entries()) {
      if (i < argv.length + envp.length) {
        block.writeBigUInt64LE(base + BigInt(at), entry)
        entry += i + 1 === argv.length ? 16 : 8
      }
      string.copy(block, at)
      at += string.length
    }
    const folder = cwd === undefined ? size : size - cwd.length
    return {
      block,
      argv: block.subarray(8),
      envp: block.subarray(8 * (argv.length + 2)),
      path: block.subarray(folder - path.length),
      cwd: block.subarray(folder)
    }
  }
  const status = Buffer.alloc(4)
  const both = Buffer.alloc(8)
  const usage = Buffer.alloc(opaque)
  const time = (at: number) =>
    Number(usage.readBigInt64LE(at)) * 1000 +
    (platform.microseconds === 8 ? Number(usage.readBigInt64LE(at + 8)) : usage.readInt32LE(at + 8)) / 1000

  return {
    /** Whether `Plan.cwd` is supported. */
    changesFolder: addChdir !== undefined,
    /**
     * Calls back with the pid, or minus the error number. The child has its own session, no blocked and no ignored signal.
     * A thread of libuv's waits for its exec: the main thread would stand still for some milliseconds.
     */
    spawn: (plan: Plan, onSpawned: (pid: number) => void): void => {
      const { argv, block, cwd, envp, path } = blockOf(plan)
      const actions = Buffer.alloc(opaque)
      actionsInit(actions)
      for (let fd = 0; fd < 3; fd++) {
        const from = plan.stdio[fd]
        if (from === undefined) addOpen(actions, fd, "/dev/null", constants.O_RDWR, 0)
        else addDup2(actions, from, fd)
      }
      if (plan.cwd !== undefined) addChdir!(actions, cwd)
      posixSpawn.async(block, path, actions, attributes, argv, envp, (_: unknown, error: number) => {
        actionsDestroy(actions)
        onSpawned(error === 0 ? block.readInt32LE() : -error)
      })
    },
    /** Both ends of a pipe that exec closes, or minus the error number. */
    pipe: (): readonly [number, number] | number => {
      const failed = pipe2 === undefined ? pipe(both) : pipe2(both, platform.closeOnExec)
      if (failed !== 0) return -koffi.errno()
      const [from, to] = [both.readInt32LE(0), both.readInt32LE(4)]
      if (pipe2 === undefined) for (const fd of [from, to]) fcntl(fd, setDescriptorFlags, "int", 1)
      return [from, to]
    },
    /** Makes a descriptor blocking: Node makes its own non-blocking, which programs do not expect. */
    block: (fd: number): void => {
      const flags = fcntl(fd, getStatusFlags, "int", 0)
      if (flags >= 0) fcntl(fd, setStatusFlags, "int", flags & ~constants.O_NONBLOCK)
    },
    /** Reaps the child if it has ended; `"gone"` if there is no such child. */
    reap: (pid: number): Ended | "running" | "gone" => {
      const reaped = wait4(pid, status, noHang, usage)
      if (reaped !== pid) return reaped === 0 ? "running" : "gone"
      const peakMemory = Number(usage.readBigInt64LE(32)) * platform.memoryUnit
      return { ...endOf(status.readInt32LE()), usage: { user: time(0), system: time(16), peakMemory } }
    },
    /** Makes this process adopt orphaned descendants; false where the platform has no such thing. */
    adoptOrphans: (on: boolean): boolean =>
      platform.subreaper !== undefined && prctl?.(platform.subreaper, on ? 1 : 0, 0, 0, 0) === 0,
    /** Whether nothing can read what is written to this pipe any more. */
    hasNoReader: (fd: number): boolean => {
      const polled = Buffer.alloc(8) // struct pollfd: the descriptor, what is asked, what is answered
      polled.writeInt32LE(fd)
      return pollOnce(polled, 1, 0) > 0 && (polled.readInt16LE(6) & pollError) !== 0
    }
  }
}

let loaded: Libc | false | undefined

/** The C library; undefined where koffi has no binary or this file no layout. Loads koffi: 15 ms the first time. */
export const load = (): Libc | undefined => {
  try {
    const platform =
      endianness() === "LE" && architectures.includes(process.arch) && platforms[process.platform]
    loaded ??= platform ? open(platform) : false
  } catch {
    loaded = false // it is not installed, or does not fit this system
  }
  return loaded || undefined
}

/** Of several names for a number, the usual one: the first, as in EAGAIN and EWOULDBLOCK, SIGABRT and SIGIOT. */
const nameOf = <Name extends string>(numbers: Readonly<Record<Name, number>>, number: number) =>
  (Object.keys(numbers) as Array<Name>).find((name) => numbers[name] === number)

/** The name of an error number, as in `ENOENT`. */
export const errorName = (number: number): string => nameOf(os.errno, number) ?? `errno ${number}`

/** The exit code or the signal of a status that `wait` has given. */
export const endOf = (status: number): Pick<Ended, "code" | "signal"> => {
  const number = status & 0x7f
  if (number === 0) return { code: (status >> 8) & 0xff, signal: null }
  const signal = nameOf(os.signals, number)
  return signal === undefined ? { code: 128 + number, signal: null } : { code: null, signal } // a real-time signal
}
