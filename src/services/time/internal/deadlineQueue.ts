// The queue of deadlines of Timers; the virtual clock uses its heap alone.

/** An entry of a {@link Heap}, ordered by deadline, then by id. */
export interface Entry {
  readonly deadline: number
  readonly id: number
  /** Its index, maintained by the heap; -1 when it is in none. */
  place: number
}

const isBefore = (a: Entry, b: Entry) => a.deadline < b.deadline || (a.deadline === b.deadline && a.id < b.id)

/** A binary heap that also removes entries from its middle, so that cancelled ones take no memory. */
export class Heap<T extends Entry> {
  readonly entries: Array<T> = []

  get first(): T | undefined {
    return this.entries[0]
  }

  add(entry: T): void {
    this.rise(entry, this.entries.length)
  }

  delete(entry: T): boolean {
    const at = entry.place
    if (at < 0) return false
    entry.place = -1
    const last = this.entries.pop()!
    if (last === entry) return true
    if (at > 0 && isBefore(last, this.entries[(at - 1) >> 1]!)) this.rise(last, at)
    else this.sink(last, at)
    return true
  }

  private rise(entry: T, from: number): void {
    let at = from
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = this.entries[above]!
      if (!isBefore(entry, parent)) break
      this.put(parent, at)
      at = above
    }
    this.put(entry, at)
  }

  private sink(entry: T, from: number): void {
    let at = from
    for (;;) {
      let below = 2 * at + 1
      if (below >= this.entries.length) break
      if (below + 1 < this.entries.length && isBefore(this.entries[below + 1]!, this.entries[below]!)) below++
      const child = this.entries[below]!
      if (!isBefore(child, entry)) break
      this.put(child, at)
      at = below
    }
    this.put(entry, at)
  }

  private put(entry: T, at: number): void {
    this.entries[at] = entry
    entry.place = at
  }
}

/**
 * A {@link Heap} for entries that mostly arrive in order, as timers with the same delay do: an entry that is due after all
 * others is appended to an array, which costs a tenth of an insertion into the heap.
 */
export class Line<T extends Entry> {
  private readonly heap = new Heap<T>()
  /** In order, with holes for removed entries. Their `place` is below -1: -2 minus their number. */
  private line: Array<T | undefined> = []
  private base = 0 // the number of its first entry
  private head = 0
  private holes = 0
  private last = Number.NEGATIVE_INFINITY

  get first(): T | undefined {
    const a = this.line[this.head]
    const b = this.heap.first
    return a === undefined || (b !== undefined && isBefore(b, a)) ? b : a
  }

  get entries(): ReadonlyArray<T> {
    return [...this.line.filter((entry) => entry !== undefined), ...this.heap.entries]
  }

  add(entry: T): void {
    if (this.head === this.line.length) this.clear()
    if (entry.deadline < this.last) this.heap.add(entry)
    else {
      this.last = entry.deadline
      entry.place = -2 - this.base - this.line.length
      this.line.push(entry)
    }
  }

  delete(entry: T): void {
    if (entry.place >= -1) {
      this.heap.delete(entry)
      return
    }
    const index = -2 - entry.place - this.base
    if (index < 0) return // it was taken by `takeAll`
    this.line[index] = undefined
    entry.place = -1
    if (index === this.head && this.holes === 0) this.head++
    else {
      this.holes++
      while (this.head < this.line.length && this.line[this.head] === undefined) {
        this.head++
        this.holes--
      }
    }
    if (this.head > 1024 && this.head * 2 > this.line.length) {
      this.line = this.line.slice(this.head)
      this.base += this.head
      this.head = 0
    }
    if (this.holes > 64 && this.holes * 2 > this.line.length - this.head) this.pack()
  }

  /** All entries, in order, if all are due by then and none was removed; their `place` is not updated. */
  takeAll(deadline: number): Array<T> | undefined {
    const { head, holes, last, line } = this
    if (head > 0 || holes > 0 || line.length === 0 || last > deadline || this.heap.first !== undefined) return
    this.clear()
    return line as Array<T>
  }

  private clear(): void {
    this.base += this.line.length
    this.line = []
    this.head = 0
    this.holes = 0
    this.last = Number.NEGATIVE_INFINITY
  }

  private pack(): void {
    const line: Array<T | undefined> = []
    this.base += this.line.length
    for (let i = this.head; i < this.line.length; i++) {
      const entry = this.line[i]
      if (entry === undefined) continue
      entry.place = -2 - this.base - line.length
      line.push(entry)
    }
    this.line = line
    this.head = 0
    this.holes = 0
  }
}
