import { type Context, type Effect, type Scope, Stream } from "effect"

/** Elements of a caller's: at hand, or as a stream that may acquire what it needs in the caller's scope. */
export type Input<A, E = never, R = never> = Iterable<A> | Stream.Stream<A, E, R>

/**
 * A stream of our own over a caller's input, with a scope that ends with the stream. The input keeps the caller's
 * context, its scope above all: `Stream.unwrapScoped` alone would close with ours what the input acquired in the
 * caller's.
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
