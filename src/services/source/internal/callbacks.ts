import type * as Ast from "typescript/unstable/ast"
import type * as Api from "typescript/unstable/async"

// Effects that a callback gives to what takes nothing of it, and effects that are the result of another effect where
// nobody can run them. The Effect diagnostics look at neither.

/** What a type is, as far as it may be dropped. */
export type Kind = "Effect" | "Stream" | "Layer" | "Promise" | "Generator"

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
  readonly makers: Array<{
    call: Ast.CallExpression
    above: ReadonlyArray<Ast.Node>
    /** What the function gives that may be an effect, where it is written there. */
    returned: ReadonlyArray<Ast.Expression> | undefined
  }>
}

const makers = new Set(["sync", "try", "promise", "tryPromise"])

/** These take an effect from a callback and leave its result. */
const passing = /^(tap\w*|ensuring|onExit|onError|onInterrupt|zipLeft|addFinalizer)$/

/** These are given the effect inside, and may run it. */
const taking =
  /^(flatten|flatMap|andThen|map|mapBoth|match\w*|unwrap\w*|as|tap|bind|bindTo|let|all|zip\w*|acquire\w*|effect|scoped)$/

/** Of the type `Function` where the types do not say more. */
const schedulers = /^(setTimeout|setInterval|setImmediate|queueMicrotask|nextTick|requestAnimationFrame)$/

const nameOf = (ast: typeof Ast, node: Ast.Node): string =>
  ast.isPropertyAccessExpression(node) ? node.name.text : ast.isIdentifier(node) ? node.text : ""

/** `Effect.void` loses nothing when it is dropped. */
const isIdle = (ast: typeof Ast, node: Ast.Node): boolean =>
  ast.isPropertyAccessExpression(node) && node.name.text === "void"

/** No effect, whatever the types are; most callbacks give one of these, and TypeScript is not asked about them. */
const isPlain = (ast: typeof Ast, node: Ast.Node): boolean => {
  switch (node.kind) {
    case ast.SyntaxKind.StringLiteral:
    case ast.SyntaxKind.NumericLiteral:
    case ast.SyntaxKind.BigIntLiteral:
    case ast.SyntaxKind.NoSubstitutionTemplateLiteral:
    case ast.SyntaxKind.TemplateExpression:
    case ast.SyntaxKind.RegularExpressionLiteral:
    case ast.SyntaxKind.TrueKeyword:
    case ast.SyntaxKind.FalseKeyword:
    case ast.SyntaxKind.NullKeyword:
    case ast.SyntaxKind.VoidExpression:
    case ast.SyntaxKind.TypeOfExpression:
    case ast.SyntaxKind.DeleteExpression:
    case ast.SyntaxKind.PrefixUnaryExpression:
    case ast.SyntaxKind.PostfixUnaryExpression:
    case ast.SyntaxKind.ArrowFunction:
    case ast.SyntaxKind.FunctionExpression:
    case ast.SyntaxKind.ObjectLiteralExpression:
    case ast.SyntaxKind.ClassExpression:
      return true
    case ast.SyntaxKind.ArrayLiteralExpression:
      return (node as Ast.ArrayLiteralExpression).elements.length === 0
    default:
      return ast.isIdentifier(node) && node.text === "undefined"
  }
}

interface Return {
  readonly given: Ast.Expression
  /** The statement, or the expression of an arrow function. */
  readonly node: Ast.Node
}

/** What the function returns, without parentheses. */
const returnsOf = (ast: typeof Ast, fn: Fn): ReadonlyArray<Return> => {
  const returned: Array<Return> = []
  const add = (node: Ast.Node, given: Ast.Expression): void => {
    while (ast.isParenthesizedExpression(given)) given = given.expression
    returned.push({ given, node })
  }
  const hasOwnReturns = (node: Ast.Node) =>
    ast.isArrowFunction(node) ||
    ast.isFunctionExpression(node) ||
    ast.isFunctionDeclaration(node) ||
    ast.isClassDeclaration(node) ||
    ast.isClassExpression(node) ||
    ast.isMethodDeclaration(node) ||
    ast.isGetAccessorDeclaration(node) ||
    ast.isSetAccessorDeclaration(node)
  const visit = (node: Ast.Node): void => {
    if (ast.isReturnStatement(node) && node.expression !== undefined) add(node, node.expression)
    if (!hasOwnReturns(node)) node.forEachChild(visit)
  }
  if (fn.body === undefined) return returned
  if (ast.isBlock(fn.body)) fn.body.forEachChild(visit)
  else add(fn.body, fn.body as Ast.Expression)
  return returned
}

/** The function that a maker of effects is given, itself or as `try`. */
const functionOf = (ast: typeof Ast, call: Ast.CallExpression): Fn | undefined => {
  const isFunction = (node: Ast.Node | undefined): node is Fn =>
    node !== undefined && (ast.isArrowFunction(node) || ast.isFunctionExpression(node))
  for (const given of call.arguments) {
    if (isFunction(given)) return given
    if (!ast.isObjectLiteralExpression(given)) continue
    for (const property of given.properties) {
      if (!ast.isPropertyAssignment(property) || nameOf(ast, property.name) !== "try") continue
      if (isFunction(property.initializer)) return property.initializer
    }
  }
  return undefined
}

const collect = (ast: typeof Ast, source: Ast.SourceFile): Found => {
  const found: Found = { functions: [], references: [], makers: [] }
  const isFunction = (node: Ast.Node): node is Fn =>
    ast.isArrowFunction(node) || ast.isFunctionExpression(node)
  const returnedBy = (fn: Fn): ReadonlyArray<Ast.Expression> =>
    ast.isFunctionExpression(fn) && fn.asteriskToken !== undefined
      ? []
      : returnsOf(ast, fn)
          .map(({ given }) => given)
          .filter((given) => !isIdle(ast, given) && !isPlain(ast, given))
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
      if (ast.isCallExpression(node) && makers.has(callee)) {
        const fn = functionOf(ast, node)
        const returned = fn && returnedBy(fn)
        found.makers.push({ call: node, above: [...above], returned })
      }
    }
    above.push(node)
    node.forEachChild(visit)
    above.pop()
  }
  source.forEachChild(visit)
  return found
}

const isPanic = (error: unknown) => error instanceof Error && error.message.startsWith("panic:")

/** Where TypeScript 7.0 panics over the question about an expression (it does over some tuples), it is not judged. */
export type Unjudged = (node: Ast.Node) => void

/** Judges one expression. */
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

/** Asks once for each type. What is asked must not wait for its own answer: a type may be made of itself. */
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

/** The types of these. A panic over one is one over all that are asked for at once, so that one is searched. */
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

const voidFlag = 16
const undefinedFlag = 4
const deepest = 8

/** What is asked about the types of a project. */
export interface Questions {
  readonly ast: typeof Ast
  readonly checker: Api.Checker
  readonly kindOf: (type: Api.Type) => Promise<Kind | undefined>
  /** An effect, a stream or a layer, or a promise of one. */
  readonly isEffect: (type: Api.Type) => Promise<boolean>
  /** An effect whose result is an effect. A layer is a usual result: it is handed on to be built. */
  readonly isNested: (type: Api.Type | undefined) => Promise<boolean>
  /** Nothing, or a promise of nothing. */
  readonly isNothing: (type: Api.Type) => Promise<boolean>
  readonly membersOf: (type: Api.Type) => Promise<ReadonlyArray<Api.Type>>
  /** What a function of this type returns, by each of its signatures. */
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
      if (member.flags & voidFlag) some = true
      else if (
        (await kindOf(member)) === "Promise" &&
        (await nothing(await firstArgument(member), depth + 1))
      )
        some = true
      else if (!(member.flags & undefinedFlag)) return false
    }
    return some
  }
  const resultsOf = memoised(async (type) => {
    const results: Array<Api.Type> = []
    for (const member of await membersOf(type)) {
      for (const signature of await checker.getSignaturesOfType(member, 0)) {
        const result = await checker.getReturnTypeOfSignature(signature)
        if (result !== undefined) results.push(result)
      }
    }
    return results
  })
  const isNothing = memoised((type) => nothing(type, 0))
  return { ast, checker, kindOf, isEffect, isNested, isNothing, membersOf, resultsOf }
}

/** Finds them in one file. */
export const find = async (
  asked: Questions,
  source: Ast.SourceFile,
  unjudged: Unjudged
): Promise<ReadonlyArray<Dropped>> => {
  const { ast, checker, isEffect, isNested, isNothing, kindOf, membersOf, resultsOf } = asked
  const { functions, makers, references } = collect(ast, source)
  const dropped: Array<Dropped> = []

  /** Whether what stands here is called for nothing that it could give. */
  const isExpectedVoid = async (node: Ast.Expression, callee: string): Promise<boolean> => {
    const expected = await checker.getContextualType(node)
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
    const each = functions.flatMap(({ returned }) => returned)
    const types = await typesAt(checker, each, unjudged)
    let next = 0
    await Promise.all(
      functions.map(async ({ callee, fn, returned }) => {
        const from = next
        next += returned.length
        const rules = new Set<Dropped["rule"]>() // each is said once of a function
        for (const [i, node] of returned.entries()) {
          const type = types[from + i]
          if (type === undefined) continue
          await judging(node, unjudged, async () => {
            if (!(await isEffect(type))) return
            if (!rules.has("effectInVoidCallback") && (await isExpectedVoid(fn, callee))) {
              rules.add("effectInVoidCallback")
              dropped.push({ node, rule: "effectInVoidCallback" })
            }
            if (passing.test(callee) && !rules.has("effectInEffect") && (await isNested(type))) {
              rules.add("effectInEffect")
              dropped.push({ node, rule: "effectInEffect" })
            }
          })
        }
      })
    )
  }
  const lookAtReferences = async () => {
    const nodes = references.map(({ node }) => node)
    const types = await typesAt(checker, nodes, unjudged)
    await Promise.all(
      references.map(({ callee, node }, i) =>
        judging(node, unjudged, async () => {
          const type = types[i]
          if (type === undefined || !type.isObjectType() || (await kindOf(type)) !== undefined) return
          const results = await resultsOf(type)
          if (results.length === 0) return
          for (const result of results) if (!(await isEffect(result))) return
          if (await isExpectedVoid(node, callee)) dropped.push({ node, rule: "effectInVoidCallback" })
        })
      )
    )
  }
  const lookAtMakers = async () => {
    const nodes = makers.map(({ call }) => call)
    const types = await typesAt(checker, nodes, unjudged)
    await Promise.all(
      makers.map(({ above, call, returned }, i) =>
        judging(call, unjudged, async () => {
          if (!(await isNested(types[i]))) return
          if (returned !== undefined) {
            const given = await typesAt(checker, returned, unjudged)
            const effects = await Promise.all(given.map((type) => type !== undefined && isEffect(type)))
            if (!effects.includes(true)) return
          }
          if (await isMeant(asked, call, above)) return
          dropped.push({ node: call, rule: "effectInEffect" })
        })
      )
    )
  }
  await Promise.all([lookAtFunctions(), lookAtReferences(), lookAtMakers()])
  return dropped
}

/** Whether the effect inside this one goes to what may run it, or is what the types around it ask for. */
const isMeant = async (
  asked: Questions,
  call: Ast.Expression,
  above: ReadonlyArray<Ast.Node>
): Promise<boolean> => isTaken(asked.ast, call, above) || (await isExpected(asked, call, above))

/** Whether an effect of an effect, or a function that gives one, is expected of the whole expression, or it is asserted. */
const isExpected = async (
  { ast, checker, isNested, resultsOf }: Questions,
  call: Ast.Expression,
  above: ReadonlyArray<Ast.Node>
): Promise<boolean> => {
  let whole = call
  for (let i = above.length - 1; i >= 0; i--) {
    const outer = above[i]!
    if (ast.isAssertionExpression(outer)) return true
    if (ast.isParenthesizedExpression(outer) || ast.isSatisfiesExpression(outer)) whole = outer
    else if (ast.isPropertyAccessExpression(outer) && outer.name.text === "pipe") continue
    else if (!ast.isCallExpression(outer)) break
    else if (await isNested(await checker.getTypeAtLocation(outer))) whole = outer
    else {
      // The type that is expected of an argument may come from the argument itself: what is declared counts.
      const at = outer.arguments.indexOf(whole)
      const callee = at < 0 ? undefined : await checker.getTypeAtLocation(outer.expression)
      for (const signature of callee ? await checker.getSignaturesOfType(callee, 0) : []) {
        const parameter = (await signature.getParameters())[at]
        if (parameter !== undefined && (await isNested(await checker.getTypeOfSymbol(parameter)))) return true
      }
      return false
    }
  }
  const expected = await checker.getContextualType(whole)
  if (expected === undefined) return false
  if (await isNested(expected)) return true
  for (const result of await resultsOf(expected)) if (await isNested(result)) return true
  return false
}

/** The nodes around this place, the innermost last. */
const pathTo = (source: Ast.SourceFile, start: number): ReadonlyArray<Ast.Node> => {
  const path: Array<Ast.Node> = []
  const visit = (node: Ast.Node): void => {
    if (start < node.pos || start >= node.end) return
    path.push(node)
    node.forEachChild(visit)
  }
  source.forEachChild(visit)
  return path
}

/** Whether the effect that is returned at this place is meant to be the result of the effect around it. */
export const isMeantToReturn = async (
  asked: Questions,
  source: Ast.SourceFile,
  start: number
): Promise<boolean> => {
  const { ast } = asked
  const path = pathTo(source, start)
  const last = path.findLastIndex((node) => ast.isReturnStatement(node) && node.getStart(source) === start)
  const returned = path[last] as Ast.ReturnStatement | undefined
  if (returned?.expression === undefined) return false
  if (isIdle(ast, returned.expression)) return true
  const above = path.slice(
    0,
    path.slice(0, last).findLastIndex((node) => ast.isFunctionExpression(node))
  )
  const call = above.pop()
  if (call === undefined || !ast.isCallExpression(call)) return false
  let meant = false
  const nowhere: Unjudged = () => undefined
  await judging(call, nowhere, async () => {
    meant = await isMeant(asked, call, above)
  })
  return meant
}

/** What an effect, or the name that it is given, at this place is made of. */
export interface Origin {
  /** It succeeds with nothing but `Effect.void`, if with an effect. */
  readonly idle: boolean
  /** Where the effect inside it is reported, if it is. */
  readonly places: ReadonlyArray<number>
}

export const originOf = (ast: typeof Ast, source: Ast.SourceFile, start: number): Origin => {
  const path = pathTo(source, start)
  const places: Array<number> = []
  const outermost = path.find((node) => node.getStart(source) === start)
  let node: Ast.Node | undefined = outermost
  if (node !== undefined && (ast.isVariableDeclaration(node) || ast.isPropertyAssignment(node)))
    node = node.initializer
  while (node !== undefined) {
    places.push(node.getStart(source))
    if (ast.isParenthesizedExpression(node)) node = node.expression
    else if (!ast.isCallExpression(node)) break
    else if (ast.isPropertyAccessExpression(node.expression) && node.expression.name.text === "pipe")
      node = node.expression.expression
    else {
      const fn: Fn | undefined = functionOf(ast, node)
      if (fn === undefined || fn !== node.arguments[0]) {
        node = fn === undefined || makers.has(nameOf(ast, node.expression)) ? undefined : node.arguments[0]
        continue
      }
      const returns = returnsOf(ast, fn)
      for (const one of returns) places.push(one.node.getStart(source))
      const idle = returns.some(({ given }) => isIdle(ast, given))
      return { idle: idle && returns.every(({ given }) => isIdle(ast, given) || isPlain(ast, given)), places }
    }
  }
  return { idle: false, places }
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
