import { type Context, type Effect, type Scope, Stream } from "effect"

/**
 * Elements that a caller gives: an iterable, or a stream that may acquire resources in the caller's scope.
 *
 * @since 0.1.0
 * @category models
 */
export type Input<A, E = never, R = never> = Iterable<A> | Stream.Stream<A, E, R>

/**
 * Makes a stream over a caller's input with a scope that ends with the stream. The input keeps the caller's context
 * and scope: `Stream.unwrapScoped` alone would close resources that the input acquired in the caller's scope.
 *
 * @since 0.1.0
 * @category streams
 */
export const withOwnScope = <A, B, E, R, E2, R2, E3>(
  input: Input<A, E, R>,
  make: (input: Input<A, E>) => Effect.Effect<Stream.Stream<B, E2>, E3, R2>
): Stream.Stream<B, E2 | E3, R | Exclude<R2, Scope.Scope>> =>
  Stream.StreamTypeId in input
    ? Stream.contextWithStream((context: Context.Context<R>) =>
        Stream.unwrapScoped(make(Stream.provideContext(input, context)))
      )
    : Stream.unwrapScoped(make(input))
