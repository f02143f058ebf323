import { Predicate, Stream } from "effect"

/** For `dual`: whether the first argument is the stream; that of a data-last form is a function or an object of options. */
export const takesStream = (args: IArguments): boolean => Predicate.hasProperty(args[0], Stream.StreamTypeId)
