import { type Api, type Ast, callSignature, isPanic, typeFlags } from "./typescript.js"

// Questions about the types of a project to TypeScript. Another process answers them, so answers are kept, and questions
// are sent together where possible.

/** Kinds of types whose values must not be dropped. */
export type Kind = "Effect" | "Stream" | "Layer" | "Promise" | "Generator"

/** Called with an expression on which TypeScript panics: it is not checked. */
export type Unjudged = (node: Ast.Node) => void

/** Checks one expression; calls `unjudged` if TypeScript panics on it. */
export const judging = async (
  node: Ast.Node,
  unjudged: Unjudged,
  judge: () => Promise<void>
): Promise<void> => {
  try {
    await judge()
  } catch (error) {
    if (!isPanic(error)) throw error
    unjudged(node)
  }
}

/** Asks once for each type. The question must not wait for its own answer: a type may be made of itself. */
export const memoised = <A>(ask: (type: Api.Type) => Promise<A>): ((type: Api.Type) => Promise<A>) => {
  const known = new Map<number, Promise<A>>()
  return (type) => {
    let answer = known.get(type.id)
    if (answer === undefined) {
      answer = ask(type)
      known.set(type.id, answer)
    }
    return answer
  }
}

/** The types of the nodes. A panic over one fails the whole question, so the nodes are halved until it is found. */
export const typesAt = async (
  checker: Api.Checker,
  nodes: ReadonlyArray<Ast.Node>,
  unjudged: Unjudged
): Promise<ReadonlyArray<Api.Type | undefined>> => {
  if (nodes.length === 0) return []
  try {
    return await checker.getTypeAtLocation(nodes)
  } catch (error) {
    if (!isPanic(error)) throw error
    if (nodes.length === 1) {
      unjudged(nodes[0]!)
      return [undefined]
    }
    const half = nodes.length >> 1
    return [
      ...(await typesAt(checker, nodes.slice(0, half), unjudged)),
      ...(await typesAt(checker, nodes.slice(half), unjudged))
    ]
  }
}

const deepest = 8

/** Questions about the types of a project. */
export interface Questions {
  readonly ast: typeof Ast
  readonly checker: Api.Checker
  readonly kindOf: (type: Api.Type) => Promise<Kind | undefined>
  /** An effect, a stream or a layer, or a promise of one. */
  readonly isEffect: (type: Api.Type) => Promise<boolean>
  /** An effect whose result is an effect. A layer is a usual result: another effect builds it. */
  readonly isNested: (type: Api.Type | undefined) => Promise<boolean>
  /** `void`, or a promise of it. */
  readonly isNothing: (type: Api.Type) => Promise<boolean>
  readonly membersOf: (type: Api.Type) => Promise<ReadonlyArray<Api.Type>>
  /** The results of a function of this type, by its signatures. */
  readonly resultsOf: (type: Api.Type) => Promise<ReadonlyArray<Api.Type>>
}

/** The answers are kept for all files of the project. */
export const questions = (
  ast: typeof Ast,
  checker: Api.Checker,
  kindOf: (type: Api.Type) => Promise<Kind | undefined>
): Questions => {
  const firstArgument = memoised(async (type) =>
    type.isTypeReference() ? (await checker.getTypeArguments(type))[0] : undefined
  )
  const isEffect = memoised(async (type) => {
    let inner: Api.Type | undefined = type
    for (let depth = 0; inner !== undefined && depth < deepest; depth++) {
      const kind = await kindOf(inner)
      if (kind !== "Promise") return kind === "Effect" || kind === "Stream" || kind === "Layer"
      inner = await firstArgument(inner)
    }
    return false
  })
  const isNested = async (type: Api.Type | undefined): Promise<boolean> => {
    if (type === undefined || (await kindOf(type)) !== "Effect") return false
    const inner = await firstArgument(type)
    return inner !== undefined && (await kindOf(inner)) !== "Layer" && isEffect(inner)
  }
  const membersOf = async (type: Api.Type): Promise<ReadonlyArray<Api.Type>> =>
    type.isUnionType() || type.isIntersectionType() ? ((await type.getTypes()) ?? []) : [type]
  const nothing = async (type: Api.Type | undefined, depth: number): Promise<boolean> => {
    if (type === undefined || depth > deepest) return false
    let some = false
    for (const member of await membersOf(type)) {
      if (member.flags & typeFlags.void) some = true
      else if (
        (await kindOf(member)) === "Promise" &&
        (await nothing(await firstArgument(member), depth + 1))
      )
        some = true
      else if (!(member.flags & typeFlags.undefined)) return false
    }
    return some
  }
  const resultsOf = memoised(async (type) => {
    const results: Array<Api.Type> = []
    for (const member of await membersOf(type)) {
      for (const signature of await checker.getSignaturesOfType(member, callSignature)) {
        const result = await checker.getReturnTypeOfSignature(signature)
        if (result !== undefined) results.push(result)
      }
    }
    return results
  })
  const isNothing = memoised((type) => nothing(type, 0))
  return { ast, checker, kindOf, isEffect, isNested, isNothing, membersOf, resultsOf }
}

const library = /(^|\/)lib\.[\w.]+\.d\.[mc]?ts$/
const kinds: Readonly<Record<string, readonly [Kind, declaredIn: RegExp]>> = {
  Promise: ["Promise", library],
  PromiseLike: ["Promise", library],
  Generator: ["Generator", library],
  AsyncGenerator: ["Generator", library],
  Effect: ["Effect", /\/effect\/(.*\/)?Effect\./],
  Stream: ["Stream", /\/effect\/(.*\/)?Stream\./],
  Layer: ["Layer", /\/effect\/(.*\/)?Layer\./]
}

/** What decides the kind of a type: its own kind, or the types that it is made of. */
interface Parts {
  readonly kind?: Kind
  /** Members of a union, elements of an array: their kind is its kind. */
  readonly members: ReadonlyArray<Api.Type>
  /** A subclass of `Promise` is a promise; a fiber is an effect too, but may be dropped. */
  readonly bases: ReadonlyArray<Api.Type>
}

/** The kind of a type. */
export const classify = (checker: Api.Checker) => {
  const none: Parts = { members: [], bases: [] }
  const look = async (type: Api.Type): Promise<Parts> => {
    if (type.isUnionType() || type.isIntersectionType()) return { ...none, members: await type.getTypes() }
    if (!type.isObjectType()) return none
    const symbol = await type.getSymbol()
    const [kind, declaredIn] = (Object.hasOwn(kinds, symbol?.name ?? "") && kinds[symbol!.name]) || []
    if (kind !== undefined && symbol!.declarations.some(({ path }) => declaredIn!.test(path)))
      return { ...none, kind }
    if (symbol === undefined || (!type.isTypeReference() && !type.isClassOrInterface())) return none
    // Dropping an array of promises drops the promises.
    if (symbol.name === "Array" || symbol.name === "ReadonlyArray") {
      return type.isTypeReference() ? { ...none, members: await checker.getTypeArguments(type) } : none
    }
    const declared = type.isTypeReference() ? await type.getTarget() : type
    return { ...none, bases: (await declared.getBaseTypes()) ?? [] }
  }
  const partsOf = memoised(look)
  // A type may be made of itself, so a walk waits for parts only, never for the result of another walk.
  const walk = async (type: Api.Type, seen: Set<number>, depth: number): Promise<Kind | undefined> => {
    if (depth > 8 || seen.has(type.id)) return undefined
    seen.add(type.id)
    const { bases, kind, members } = await partsOf(type)
    if (kind !== undefined) return kind
    let unknown: unknown
    for (const part of [...members, ...bases]) {
      try {
        const found = await walk(part, seen, depth + 1)
        if (found !== undefined && (found === "Promise" || members.includes(part))) return found
      } catch (error) {
        unknown = error
      }
    }
    if (unknown !== undefined) throw unknown
    return undefined
  }
  return memoised((type) => walk(type, new Set(), 0))
}
