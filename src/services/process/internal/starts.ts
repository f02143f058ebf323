import { closeSync, openSync } from "node:fs"

// Starts wait for each other, one in a turn, so that many at once do not hold up everything else; and for the end of a
// process where descriptors or processes are short.

/** A start that may have to wait. */
export interface Start {
  readonly spawn: () => void
  /** It is not to be tried again. */
  withdrawn: boolean
}

/** Descriptors that a start takes, and some for what it reads of /proc. */
const reserved = 8

/** Codes of a start that the end of another process may make possible. */
const full = ["EAGAIN", "EMFILE", "ENFILE"]

/** `running`: how many processes run, whose end frees descriptors. */
export const make = (running: () => number) => {
  const waiting: Array<Start> = []
  let starting = 0
  let turning = false
  let short = false
  const begin = (start: Start) => {
    starting++
    start.spawn()
  }
  const next = () => {
    if (turning || short) return
    const start = waiting.shift()
    if (start === undefined) return
    turning = true
    setImmediate(() => {
      turning = false
      next()
    })
    begin(start)
  }
  const reserve: Array<number> = []
  /** Takes descriptors in reserve: one process can start where the rest of the program has taken all others. */
  const open = () => {
    try {
      while (reserve.length < reserved) reserve.push(openSync("/dev/null", "r"))
    } catch {
      // the next process that ends frees some
    }
  }
  const close = () => {
    for (const fd of reserve.splice(0)) closeSync(fd)
  }
  /** A process has ended: descriptors are free. */
  const freed = () => {
    open()
    short = false
    next()
  }
  return {
    /** How many have begun, and have neither succeeded nor failed. */
    get starting() {
      return starting
    },
    open,
    add: (start: Start): void => {
      waiting.push(start)
      next()
    },
    /** Takes a start back; whether it was waiting. */
    withdraw: (start: Start): boolean => {
      start.withdrawn = true
      const at = waiting.indexOf(start)
      if (at >= 0) waiting.splice(at, 1)
      return at >= 0
    },
    succeeded: (): void => {
      starting--
      freed()
    },
    /** Whether it is tried again, now or when a process has ended. */
    failed: (start: Start, code: string): boolean => {
      starting--
      const isFull = full.includes(code)
      const others = running() + starting
      const again = isFull && !start.withdrawn && (others > 0 || reserve.length > 0)
      short = isFull && others > 0
      if (again && short) waiting.unshift(start)
      else if (again) {
        close()
        begin(start)
      } else next()
      return again
    },
    freed,
    close
  }
}
