import { assert, describe, it } from "@effect/vitest"
import * as libc from "../../../src/services/process/internal/libc.js"

// macOS cannot be tried here. What can be checked of its constants is that each is there and that flags do not collide.

const platforms = Object.entries(libc.platforms)

describe("libc", () => {
  it("has the layout of each platform that it knows", () => {
    assert.deepStrictEqual(
      platforms.map(([name]) => name),
      ["linux", "darwin"]
    )
    // `sizeof`, from the headers of glibc 2.36, musl 1.2 and the macOS SDK 14, on 64 bits.
    const sizes = {
      linux: {
        posix_spawnattr_t: 336,
        posix_spawn_file_actions_t: 80,
        sigset_t: 128,
        rusage: 272,
        tv_usec: 8
      },
      darwin: { posix_spawnattr_t: 8, posix_spawn_file_actions_t: 8, sigset_t: 4, rusage: 144, tv_usec: 4 }
    }
    for (const [name, { tv_usec, ...types }] of Object.entries(sizes)) {
      for (const size of Object.values(types)) assert.isAtMost(size, libc.opaque)
      assert.strictEqual(libc.platforms[name as keyof typeof sizes]!.microseconds, tv_usec)
    }
  })

  it.each(platforms)("has every constant of %s, and no two flags in one bit", (_name, platform) => {
    const { closeByDefault, closeOnExec, memoryUnit, pipe2, setSession } = platform
    const flags = [setSession, closeByDefault, libc.setSignalDefaults, libc.setSignalMask].filter(Boolean)
    for (const flag of [...flags, closeOnExec]) assert.match(flag.toString(2), /^10*$/)
    assert.strictEqual(new Set(flags).size, flags.length)
    // The flags are a `short`.
    for (const flag of flags) assert.isBelow(flag, 2 ** 15)
    // Where a pipe is not made with the flag, another thread's child could have it.
    assert.isTrue(pipe2 || closeByDefault !== 0)
    assert.oneOf(memoryUnit, [1, 1024])
    assert.deepStrictEqual(Object.keys(platform).sort(), Object.keys(platforms[0]![1]).sort())
  })

  it("gives the exit code, the signal, or a shell's code of a signal without a name", () => {
    assert.deepStrictEqual(libc.endOf(0x0300), { code: 3, signal: null })
    assert.deepStrictEqual(libc.endOf(9), { code: null, signal: "SIGKILL" })
    assert.deepStrictEqual(libc.endOf(0x80 | 6), { code: null, signal: "SIGABRT" }) // with a core
    assert.deepStrictEqual(libc.endOf(40), { code: 168, signal: null })
    assert.deepStrictEqual([libc.errorName(2), libc.errorName(99999)], ["ENOENT", "errno 99999"])
  })
})
