// The starts that wait for a slot of their group: a binary heap by priority, then by order.

export interface Waiter {
  readonly priority: number
  readonly order: number
  /** Whether it has a slot. */
  granted: boolean
  readonly wake: () => void
  /** No longer in line; it leaves the heap later, so that removing takes constant time. */
  gone: boolean
}

const before = (a: Waiter, b: Waiter) =>
  a.priority === b.priority ? a.order < b.order : a.priority > b.priority

export const make = () => {
  let heap: Array<Waiter> = []
  let order = 0
  let gone = 0

  const up = (waiter: Waiter, from: number) => {
    let at = from
    while (at > 0) {
      const above = (at - 1) >> 1
      if (!before(waiter, heap[above]!)) break
      heap[at] = heap[above]!
      at = above
    }
    heap[at] = waiter
  }
  const down = (waiter: Waiter) => {
    let at = 0
    while (true) {
      let below = 2 * at + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && before(heap[below + 1]!, heap[below]!)) below++
      if (!before(heap[below]!, waiter)) break
      heap[at] = heap[below]!
      at = below
    }
    heap[at] = waiter
  }
  const pop = (): Waiter | undefined => {
    const first = heap[0]
    const last = heap.pop()
    if (heap.length > 0) down(last!)
    return first
  }

  return {
    add: (priority: number, wake: () => void): Waiter => {
      const waiter: Waiter = { priority, order: order++, granted: false, wake, gone: false }
      up(waiter, heap.length)
      return waiter
    },
    /** The next in line, which leaves it. */
    shift: (): Waiter | undefined => {
      for (let waiter = pop(); waiter !== undefined; waiter = pop()) {
        if (!waiter.gone) {
          waiter.gone = true
          return waiter
        }
        gone--
      }
      return undefined
    },
    /** Takes it out of the line; false if it is not in it. */
    remove: (waiter: Waiter): boolean => {
      if (waiter.gone) return false
      waiter.gone = true
      if (++gone > 32 && 2 * gone > heap.length) {
        // In their order, an array is a heap.
        heap = heap.filter((one) => !one.gone).sort((a, b) => (before(a, b) ? -1 : 1))
        gone = 0
      }
      return true
    }
  }
}
