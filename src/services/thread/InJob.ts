// The interface of a running job. Node's own globals only: a thread that loads Effect starts in ten times the time.

/**
 * The context that a job gets from the fiber that requested it.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobContext {
  /** The job's name. */
  readonly job: string
  /** The log annotations of the fiber. */
  readonly annotations: Readonly<Record<string, unknown>>
  /** The span of the fiber, in the form that is sent over a wire. */
  readonly span:
    | {
        readonly traceId: string
        readonly spanId: string
        readonly sampled: boolean
        readonly name: string | undefined
      }
    | undefined
  /** The values of the FiberRefs of `Executor.withRefs`, by their names there. */
  readonly refs: Readonly<Record<string, unknown>>
}

/**
 * Provided by the thread to the job that it runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Host {
  readonly cancelled: () => boolean
  readonly context: () => JobContext
}

// Global symbols: the job's module may load another copy of this module than the thread has.
const hostKey = Symbol.for("effect-asyncio/services/InJob/host")
const movesKey = Symbol.for("effect-asyncio/services/InJob/moves")
const globals = globalThis as { [hostKey]?: Host | undefined; [movesKey]?: WeakMap<object, Array<unknown>> }
globals[movesKey] ??= new WeakMap()
const moves = globals[movesKey]

/**
 * For executors: the source of {@link cancelled} and {@link context} from now on.
 *
 * @since 0.1.0
 * @category functions
 */
export const setHost = (host: Host | undefined): void => {
  globals[hostKey] = host
}

/**
 * Whether the calling job has been asked to end: it was cancelled, or it timed out. A job that computes for long polls
 * this and returns; the thread of a job that does not is terminated after the grace period. A shipped function may call
 * it as `InJob.cancelled()`. False if no job runs.
 *
 * @example
 * ```ts
 * import { cancelled } from "effect-asyncio/services/InJob"
 *
 * export const countPrimes = (limit: number) => {
 *   let count = 0
 *   for (let n = 2; n < limit; n++) {
 *     if (n % 1000 === 0 && cancelled()) break
 *     let prime = true
 *     for (let i = 2; i * i <= n && prime; i++) prime = n % i !== 0
 *     if (prime) count++
 *   }
 *   return count
 * }
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const cancelled = (): boolean => globals[hostKey]?.cancelled() ?? false

/**
 * The context of the job's caller: log annotations, span, the FiberRefs of `withRefs`. Empty without a job.
 *
 * @since 0.1.0
 * @category functions
 */
export const context = (): JobContext =>
  globals[hostKey]?.context() ?? { job: "", annotations: {}, span: undefined, refs: {} }

/**
 * Marks a value so that its buffers are transferred and not copied when it crosses to another thread, as an argument
 * or as a job's result; afterwards they are empty on this side. Returns the same value.
 *
 * @param value an ArrayBuffer, a view of one, or an object that holds some
 * @param buffers the buffers to transfer; default: the value itself or the buffer that it is a view of
 *
 * @example
 * ```ts
 * import { move } from "effect-asyncio/services/InJob"
 *
 * export const noise = (bytes: number) => move(crypto.getRandomValues(new Uint8Array(bytes)))
 * ```
 *
 * @since 0.1.0
 * @category functions
 */
export const move = <A extends object>(value: A, buffers?: ReadonlyArray<object>): A => {
  moves.set(value, [...(buffers ?? [ArrayBuffer.isView(value) ? value.buffer : value])])
  return value
}

/**
 * For executors: the buffers of this value that are to be transferred.
 *
 * @since 0.1.0
 * @category functions
 */
export const buffersOf = (value: unknown): ReadonlyArray<any> =>
  (typeof value === "object" && value !== null ? moves.get(value) : undefined) ?? []
