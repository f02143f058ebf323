/** Milliseconds for which a turn of the event loop begins requests as they come. */
const long = 4

/** Turns that begin no request while each of them accepts a connection. */
const acceptsFirst = 32

/**
 * Begins requests while the turn of the event loop is short, and the others in later turns, first come first served. The loop
 * accepts one connection in a turn (libuv 1.46) and looks at timers once: long turns starve new clients and delay deadlines.
 */
export class Turns<A> {
  /** With the time since which it waits. */
  private readonly waiting = new Map<A, number>()
  /** When this turn began; undefined without requests. */
  private began: number | undefined
  private isUsed = false
  private hasAccepted = false
  private accepts = 0
  /** When the last of those that waited has begun, or the first of them came. */
  private since = 0
  /** Milliseconds between two begins while others wait: a mean in which the last 16 count most. */
  private pace = 0

  constructor(
    private readonly waitTime: number,
    /** Receives one that has waited, and whether that was too long. */
    private readonly next: (item: A, isLate: boolean) => void,
    private readonly now: () => number = () => performance.now(),
    private readonly soon: (turned: () => void) => void = setImmediate
  ) {}

  // After the events of a turn. While it is awaited the loop does not block; it ends with the requests.
  private readonly turned = () => {
    const began = this.now()
    let now = began
    let begun = 0
    // Half of the time at least: the other half reads requests, and refuses some.
    const budget = Math.max(long, began - this.began!)
    const isAccepting = this.hasAccepted && ++this.accepts < acceptsFirst
    this.hasAccepted = false
    if (!isAccepting) {
      this.accepts = 0
      for (const [item, since] of this.waiting) {
        this.waiting.delete(item)
        const isLate = now - since > this.waitTime
        this.next(item, isLate)
        if (!isLate) begun++
        now = this.now()
        if (now - began >= budget) break
      }
    }
    const isBusy = this.waiting.size > 0
    if (begun > 0) {
      const pace = (now - this.since) / begun
      this.pace += (pace - this.pace) * (this.pace === 0 ? 1 : Math.min(1, begun / 16))
      this.since = now
    }
    if (this.isUsed || isBusy) {
      this.began = now
      this.soon(this.turned)
    } else this.began = undefined
    this.isUsed = false
  }

  /** A connection was accepted in this turn: there may be others. */
  accepted(): void {
    this.hasAccepted = true
  }

  /** Whether the item begins now, waits, or is refused because it would wait too long. */
  enter(item: A): "begin" | "refuse" | "wait" {
    const now = this.now()
    this.isUsed = true
    if (this.began === undefined) {
      this.began = now
      this.soon(this.turned)
    }
    if (this.waiting.size === 0 && !this.hasAccepted && now - this.began < long) return "begin"
    if (this.waiting.size * this.pace > this.waitTime) return "refuse"
    if (this.waiting.size === 0) this.since = now
    this.waiting.set(item, now)
    return "wait"
  }

  /** Whether the item waited; then it does not begin. */
  leave(item: A): boolean {
    return this.waiting.delete(item)
  }
}
