import * as descendants from "./internal/descendants.js"
import * as libc from "./internal/libc.js"

// What depends on this machine: koffi, the optional package that calls the C library, and /proc.

/**
 * How processes are started here unless a layer says otherwise: `posix_spawn`, or Node where koffi has no binary. Loads
 * koffi.
 *
 * @since 0.1.0
 * @category functions
 */
export const backend = (): "posix_spawn" | "node" => (libc.load() === undefined ? "node" : "posix_spawn")

/**
 * Whether nothing can read any more what is written to the pipe; false also where koffi has no binary: then the next
 * write reports it.
 *
 * @since 0.1.0
 * @category predicates
 */
export const hasNoReader = (fd: number): boolean => libc.load()?.hasNoReader(fd) ?? false

/**
 * How processes are started and followed here, in words for a person. Loads koffi.
 *
 * @since 0.1.0
 * @category functions
 */
export const description = (): string =>
  descendants.canFollow()
    ? backend()
    : `${backend()}; without /proc only process groups are ended, not what leaves its group`
