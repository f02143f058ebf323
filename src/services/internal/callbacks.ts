import type * as Ast from "typescript/unstable/ast"
import type * as Api from "typescript/unstable/async"

// Effects that a callback gives to what takes nothing of it, and effects that are the result of another effect where
// nobody can run them. The Effect diagnostics look at neither.

/** What a type is, as far as it may be dropped. */
export type Kind = "Effect" | "Stream" | "Promise" | "Generator"

export interface Dropped {
  readonly node: Ast.Node
  readonly rule: "effectInVoidCallback" | "effectInEffect"
}

type Fn = Ast.ArrowFunction | Ast.FunctionExpression

interface Found {
  /** Functions that stand as values, with what they return and what they are given to. */
  readonly functions: Array<{ fn: Fn; returned: ReadonlyArray<Ast.Expression>; callee: string }>
  /** Other arguments that may be functions. */
  readonly references: Array<{ node: Ast.Expression; callee: string }>
  /** Calls that make an effect of what a function returns. */
  readonly makers: Array<{ call: Ast.CallExpression; above: ReadonlyArray<Ast.Node> }>
}

const makers = new Set(["sync", "try", "promise", "tryPromise"])

/** These take an effect from a callback and leave its result. */
const passing = /^(tap\w*|ensuring|onExit|onError|onInterrupt|zipLeft|addFinalizer)$/

/** These are given the effect inside, and may run it. */
const taking =
  /^(flatten|flatMap|andThen|map|mapBoth|match\w*|unwrap\w*|as|tap|bind|bindTo|let|all|run\w*|zip\w*|acquire\w*)$/

/** Of the type `Function` where the types do not say more. */
const schedulers = /^(setTimeout|setInterval|setImmediate|queueMicrotask|nextTick|requestAnimationFrame)$/

const nameOf = (ast: typeof Ast, node: Ast.Node): string =>
  ast.isPropertyAccessExpression(node) ? node.name.text : ast.isIdentifier(node) ? node.text : ""

const collect = (ast: typeof Ast, source: Ast.SourceFile): Found => {
  const found: Found = { functions: [], references: [], makers: [] }
  const isFunction = (node: Ast.Node): node is Fn =>
    ast.isArrowFunction(node) || ast.isFunctionExpression(node)
  const hasOwnReturns = (node: Ast.Node) =>
    isFunction(node) ||
    ast.isFunctionDeclaration(node) ||
    ast.isClassDeclaration(node) ||
    ast.isClassExpression(node) ||
    ast.isMethodDeclaration(node) ||
    ast.isGetAccessorDeclaration(node) ||
    ast.isSetAccessorDeclaration(node)
  const returnedBy = (fn: Fn): ReadonlyArray<Ast.Expression> => {
    if (ast.isFunctionExpression(fn) && fn.asteriskToken !== undefined) return []
    const body = fn.body
    if (body === undefined) return []
    if (!ast.isBlock(body)) return [body as Ast.Expression]
    const returned: Array<Ast.Expression> = []
    const visit = (node: Ast.Node): void => {
      if (ast.isReturnStatement(node) && node.expression !== undefined) returned.push(node.expression)
      if (!hasOwnReturns(node)) node.forEachChild(visit)
    }
    body.forEachChild(visit)
    return returned
  }
  const mayBeFunction = (node: Ast.Node) => ast.isIdentifier(node) || ast.isPropertyAccessExpression(node)
  const above: Array<Ast.Node> = []
  const visit = (node: Ast.Node): void => {
    const parent = above.at(-1)
    if (isFunction(node)) {
      const called = parent !== undefined && (ast.isCallExpression(parent) || ast.isNewExpression(parent))
      const callee = called ? nameOf(ast, parent.expression) : ""
      const returned = returnedBy(node)
      if (returned.length > 0) found.functions.push({ fn: node, returned, callee })
    }
    if (ast.isCallExpression(node) || ast.isNewExpression(node)) {
      const callee = nameOf(ast, node.expression)
      for (const argument of node.arguments ?? []) {
        if (mayBeFunction(argument)) found.references.push({ node: argument, callee })
      }
      if (ast.isCallExpression(node) && makers.has(callee))
        found.makers.push({ call: node, above: [...above] })
    }
    above.push(node)
    node.forEachChild(visit)
    above.pop()
  }
  source.forEachChild(visit)
  return found
}

const isPanic = (error: unknown) => error instanceof Error && error.message.startsWith("panic:")

/** What TypeScript answers; where it panics over the question (7.0 does over some tuples), this. */
export const unlessPanic = async <A, B>(ask: () => Promise<A>, otherwise: B): Promise<A | B> => {
  try {
    return await ask()
  } catch (error) {
    if (!isPanic(error)) throw error
    return otherwise
  }
}

/**
 * The types of these. TypeScript 7.0 panics over a few (tuples that stand for their own declaration), with all that are
 * asked for at once; those are found and have none.
 */
export const typesAt = async (
  checker: Api.Checker,
  nodes: ReadonlyArray<Ast.Node>
): Promise<ReadonlyArray<Api.Type | undefined>> => {
  try {
    return await checker.getTypeAtLocation(nodes)
  } catch (error) {
    if (!isPanic(error)) throw error
    if (nodes.length === 1) return [undefined]
    const half = nodes.length >> 1
    return [...(await typesAt(checker, nodes.slice(0, half))), ...(await typesAt(checker, nodes.slice(half)))]
  }
}

const voidFlag = 16
const undefinedFlag = 4

/** Finds them in one file. */
export const find = async (
  ast: typeof Ast,
  checker: Api.Checker,
  kindOf: (type: Api.Type) => Promise<Kind | undefined>,
  source: Ast.SourceFile
): Promise<ReadonlyArray<Dropped>> => {
  const { functions, makers, references } = collect(ast, source)
  const dropped: Array<Dropped> = []

  const firstArgument = async (type: Api.Type): Promise<Api.Type | undefined> =>
    type.isTypeReference() ? (await unlessPanic(() => checker.getTypeArguments(type), []))[0] : undefined

  const known = new Map<number, Promise<boolean>>()
  /** An effect or a stream, or a promise of one. */
  const isEffect = (type: Api.Type | undefined): Promise<boolean> => {
    if (type === undefined) return Promise.resolve(false)
    const before = known.get(type.id)
    if (before !== undefined) return before
    const answer = (async () => {
      const kind = await kindOf(type)
      if (kind === "Effect" || kind === "Stream") return true
      if (kind !== "Promise") return false
      const inner = await firstArgument(type)
      return inner !== undefined && inner.id !== type.id && isEffect(inner)
    })()
    known.set(type.id, answer)
    return answer
  }
  /** An effect whose result is an effect. */
  const isNested = async (type: Api.Type | undefined): Promise<boolean> =>
    type !== undefined && (await kindOf(type)) === "Effect" && isEffect(await firstArgument(type))

  const membersOf = async (type: Api.Type): Promise<ReadonlyArray<Api.Type>> =>
    type.isUnionType() || type.isIntersectionType()
      ? ((await unlessPanic(() => type.getTypes(), [])) ?? [])
      : [type]

  /** Nothing, or a promise of nothing. */
  const isNothing = async (type: Api.Type | undefined): Promise<boolean> => {
    if (type === undefined) return false
    const members = await membersOf(type)
    let some = false
    for (const member of members) {
      if (member.flags & voidFlag) some = true
      else if ((await kindOf(member)) === "Promise" && (await isNothing(await firstArgument(member))))
        some = true
      else if (!(member.flags & undefinedFlag)) return false
    }
    return some
  }

  const signatures = new Map<number, Promise<ReadonlyArray<Api.Type>>>()
  /** What a function of this type returns, by each of its signatures. */
  const resultsOf = (type: Api.Type): Promise<ReadonlyArray<Api.Type>> => {
    const before = signatures.get(type.id)
    if (before !== undefined) return before
    const answer = (async () => {
      const results: Array<Api.Type> = []
      for (const member of await membersOf(type)) {
        for (const signature of await unlessPanic(() => checker.getSignaturesOfType(member, 0), [])) {
          const result = await unlessPanic(() => checker.getReturnTypeOfSignature(signature), undefined)
          if (result !== undefined) results.push(result)
        }
      }
      return results
    })()
    signatures.set(type.id, answer)
    return answer
  }

  /** Whether what stands here is called for nothing that it could give. */
  const isExpectedVoid = async (node: Ast.Expression, callee: string): Promise<boolean> => {
    const expected = await unlessPanic(() => checker.getContextualType(node), undefined)
    if (expected === undefined) return false
    const results = await resultsOf(expected)
    if (results.length > 0) {
      for (const result of results) if (!(await isNothing(result))) return false
      return true
    }
    if (!schedulers.test(callee)) return false
    for (const member of await membersOf(expected)) {
      if ((await member.getSymbol())?.name === "Function") return true
    }
    return false
  }

  // All at once: each question to TypeScript waits for an answer, and there are thousands.
  const lookAtFunctions = async () => {
    const types = await typesAt(
      checker,
      functions.flatMap(({ returned }) => returned)
    )
    let next = 0
    const each = functions.map((one) => {
      const from = next
      next += one.returned.length
      return { ...one, from }
    })
    await Promise.all(
      each.map(async ({ callee, fn, from, returned }) => {
        const own = types.slice(from, from + returned.length)
        const at = (await Promise.all(own.map(isEffect))).indexOf(true)
        if (at < 0) return
        if (await isExpectedVoid(fn, callee))
          dropped.push({ node: returned[at]!, rule: "effectInVoidCallback" })
        if (!passing.test(callee)) return
        const nested = (await Promise.all(own.map(isNested))).indexOf(true)
        if (nested >= 0) dropped.push({ node: returned[nested]!, rule: "effectInEffect" })
      })
    )
  }
  const lookAtReferences = async () => {
    const types = await typesAt(
      checker,
      references.map(({ node }) => node)
    )
    await Promise.all(
      references.map(async ({ callee, node }, i) => {
        const type = types[i]
        if (type === undefined || !type.isObjectType() || (await kindOf(type)) !== undefined) return
        const results = await resultsOf(type)
        if (results.length === 0 || (await Promise.all(results.map(isEffect))).includes(false)) return
        if (await isExpectedVoid(node, callee)) dropped.push({ node, rule: "effectInVoidCallback" })
      })
    )
  }
  const lookAtMakers = async () => {
    const types = await typesAt(
      checker,
      makers.map(({ call }) => call)
    )
    await Promise.all(
      makers.map(async ({ above, call }, i) => {
        if (!(await isNested(types[i])) || isTaken(ast, call, above)) return
        if (await isNested(await unlessPanic(() => checker.getContextualType(call), undefined))) return
        dropped.push({ node: call, rule: "effectInEffect" })
      })
    )
  }
  await Promise.all([lookAtFunctions(), lookAtReferences(), lookAtMakers()])
  return dropped
}

/** Whether the effect inside goes to a function that may run it, or gets a name where this one runs. */
const isTaken = (ast: typeof Ast, call: Ast.Node, above: ReadonlyArray<Ast.Node>): boolean => {
  let inner: Ast.Node = call
  for (let i = above.length - 1; i >= 0; i--) {
    const outer = above[i]!
    if (ast.isParenthesizedExpression(outer)) {
      inner = outer
      continue
    }
    if (ast.isYieldExpression(outer)) return !ast.isExpressionStatement(above[i - 1] ?? outer)
    if (ast.isPropertyAccessExpression(outer) && outer.expression === inner) {
      const piped = above[i - 1]
      if (piped === undefined || !ast.isCallExpression(piped)) return false
      return piped.arguments.some((step) => taking.test(stepName(ast, step)))
    }
    if (!ast.isCallExpression(outer)) return false
    if (nameOf(ast, outer.expression) === "pipe")
      return outer.arguments.some((step) => taking.test(stepName(ast, step)))
    return taking.test(nameOf(ast, outer.expression))
  }
  return false
}

const stepName = (ast: typeof Ast, step: Ast.Node): string =>
  nameOf(ast, ast.isCallExpression(step) ? step.expression : step)
