// Many inputs through an executor, results in order: plain code, because a fiber for each job costs more than the message
// to the thread and back (bench/executor.mjs: `MapJobs.map` compared with as many `Executor.run`).

export interface Options<Input, Settled> {
  /** The inputs; undefined if `feed` offers them. */
  readonly iterator: Iterator<Input> | undefined
  /** Inputs in one message, and messages in flight at once. */
  readonly chunk: number
  readonly lanes: number
  /** Runs the job for these inputs and calls back once, unless the returned function cancels it and calls back. */
  readonly start: (
    inputs: ReadonlyArray<Input>,
    onSettled: (settled: ReadonlyArray<Settled>) => void
  ) => (onGone: () => void) => void
  /** Whether to try again after so many attempts. */
  readonly again: (settled: Settled, attempts: number) => boolean
  /** Calls back after the pause that follows so many attempts, unless the returned function cancels it and calls back. */
  readonly pause: (attempts: number, callback: () => void) => (onGone: () => void) => void
  /** Whether results are emitted in the order of the inputs; then at most `kept` wait for results before them. */
  readonly ordered: boolean
  readonly kept: number
  readonly full: () => boolean
  readonly whenRoom: (callback: () => void) => void
  readonly give: (index: number, input: Input, settled: Settled, attempts: number, asked: number) => void
  /** Called once: every input has settled, or the iterator threw `error` and no job runs any more. */
  readonly onEnd: (thrown: { readonly error: unknown } | undefined) => void
}

export interface Loop<Input> {
  /** Offers inputs; calls back when all have been taken. One call at a time. */
  readonly feed: (inputs: ReadonlyArray<Input>, onTaken: () => void) => void
  /** No more inputs follow. */
  readonly end: () => void
  /** Starts taking inputs. */
  readonly run: () => void
  /** Cancels the running jobs; `onEnd` is not called. */
  readonly cancel: (onGone: () => void) => void
}

export const make = <Input, Settled>(options: Options<Input, Settled>): Loop<Input> => {
  const { again, chunk, full, give, iterator, kept, lanes, ordered, pause, start, whenRoom } = options
  const live = new Set<(onGone: () => void) => void>()
  let index = 0
  let ended = false
  let fed: ReadonlyArray<Input> = []
  let from = 0
  let onTaken: (() => void) | undefined
  let waitsForRoom = false
  let pumping = false
  let stopped = false

  const done = new Map<number, () => void>()
  let turn = 0
  const emitInTurn = (at: number, input: Input, settled: Settled, attempts: number, asked: number) => {
    if (ordered && at !== turn) {
      done.set(at, () => give(at, input, settled, attempts, asked))
      return
    }
    give(at, input, settled, attempts, asked)
    if (!ordered) return
    turn++
    if (done.size === 0) return
    for (let next = done.get(turn); next !== undefined; next = done.get(turn)) {
      done.delete(turn++)
      next()
    }
  }

  const take = (): ReadonlyArray<Input> => {
    if (iterator === undefined) {
      const taken = fed.slice(from, from + chunk)
      from += taken.length
      if (from === fed.length && onTaken !== undefined) {
        const callback = onTaken
        onTaken = undefined
        callback()
      }
      return taken
    }
    const taken: Array<Input> = []
    while (taken.length < chunk && !ended) {
      const { done, value } = iterator.next()
      if (done === true) ended = true
      else taken.push(value)
    }
    return taken
  }

  /** Starts what calls back once; it can be cancelled until then. */
  const inLane = <A extends ReadonlyArray<unknown>>(
    begin: (callback: (...result: A) => void) => (onGone: () => void) => void,
    then: (...result: A) => void
  ) => {
    let over = false
    let cancel: ((onGone: () => void) => void) | undefined // `begin` may call back before it returns
    cancel = begin((...result) => {
      over = true
      if (cancel !== undefined) live.delete(cancel)
      then(...result)
    })
    if (!over) live.add(cancel)
  }

  /** Runs the inputs until all have settled, with further attempts if `again` asks for them. */
  const settle = (inputs: ReadonlyArray<Input>, at: number) => {
    const asked = performance.now()
    // `places` are those of inputs that run again, together and in the lane of their first attempt.
    const begin = (
      some: ReadonlyArray<Input>,
      places: ReadonlyArray<number> | undefined,
      attempts: number
    ) => {
      inLane(
        (onSettled: (settled: ReadonlyArray<Settled>) => void) => start(some, onSettled),
        (settled) => {
          const rest: Array<Input> = []
          const restPlaces: Array<number> = []
          for (let i = 0; i < settled.length; i++) {
            const input = some[i]!
            const place = places === undefined ? at + i : places[i]!
            if (!stopped && again(settled[i]!, attempts)) {
              rest.push(input)
              restPlaces.push(place)
            } else emitInTurn(place, input, settled[i]!, attempts, asked)
          }
          if (rest.length === 0) pump()
          else
            inLane(
              (callback: () => void) => pause(attempts, callback),
              () => begin(rest, restPlaces, attempts + 1)
            )
        }
      )
    }
    begin(inputs, undefined, 1)
  }

  const cancel = (onGone: () => void) => {
    stopped = true
    iterator?.return?.()
    let left = live.size
    if (left === 0) return onGone()
    for (const cancelOne of live) cancelOne(() => --left === 0 && onGone())
  }

  const pump = () => {
    if (pumping || stopped) return
    pumping = true
    try {
      while (live.size < lanes && (!ordered || index - turn < kept + lanes * chunk)) {
        if (full()) {
          if (!waitsForRoom) {
            waitsForRoom = true
            whenRoom(() => {
              waitsForRoom = false
              pump()
            })
          }
          break
        }
        const taken = take()
        if (taken.length === 0) break
        const at = index
        index += taken.length
        settle(taken, at)
      }
    } catch (error) {
      cancel(() => options.onEnd({ error }))
    } finally {
      pumping = false
    }
    if (ended && from === fed.length && live.size === 0 && !stopped) {
      stopped = true
      options.onEnd(undefined)
    }
  }

  return {
    feed: (inputs, callback) => {
      fed = inputs
      from = 0
      onTaken = callback
      if (inputs.length === 0) {
        onTaken = undefined
        callback()
      } else pump()
    },
    end: () => {
      ended = true
      pump()
    },
    run: pump,
    cancel
  }
}
