import type { Rule } from "../Analysis.js"
import type { Ast } from "./typescript.js"

// Expressions whose value is dropped, by the syntax tree alone, and the imports and switches of a file.

/** An expression whose value is dropped. */
export interface Suspect {
  readonly node: Ast.Expression
  /** Whether its failure is handled; its result is dropped in any case. */
  readonly handled: boolean
  /** Whether the expression is the whole statement; the Effect diagnostics check only those. */
  readonly whole: boolean
}

/** The expressions whose value is dropped when this one is a statement: itself, or its branches. */
const dropped = (ast: typeof Ast, node: Ast.Expression, whole: boolean): ReadonlyArray<Suspect> => {
  const inner = (node: Ast.Expression) => dropped(ast, node, false)
  if (ast.isParenthesizedExpression(node)) return dropped(ast, node.expression, whole)
  if (ast.isVoidExpression(node)) return [] // dropped on purpose
  if (ast.isConditionalExpression(node)) return [...inner(node.whenTrue), ...inner(node.whenFalse)]
  if (ast.isBinaryExpression(node)) {
    switch (node.operatorToken.kind) {
      case ast.SyntaxKind.CommaToken:
        return [...inner(node.left), ...inner(node.right)]
      case ast.SyntaxKind.AmpersandAmpersandToken:
      case ast.SyntaxKind.BarBarToken:
      case ast.SyntaxKind.QuestionQuestionToken:
        return inner(node.right)
      default:
        return [] // an assignment keeps its value
    }
  }
  return [{ node, whole, handled: isHandled(ast, node) }]
}

export const suspects = (ast: typeof Ast, file: Ast.SourceFile): ReadonlyArray<Suspect> => {
  const found: Array<Suspect> = []
  const visit = (node: Ast.Node): void => {
    if (ast.isExpressionStatement(node)) found.push(...dropped(ast, node.expression, true))
    node.forEachChild(visit)
  }
  file.forEachChild(visit)
  return found
}

/** `promise.catch(f)` and `promise.then(f, g)` handle a failure. */
const isHandled = (ast: typeof Ast, node: Ast.Node): boolean => {
  if (!ast.isCallExpression(node) || !ast.isPropertyAccessExpression(node.expression)) return false
  const { expression: object, name } = node.expression
  if (name.text === "finally") return isHandled(ast, object)
  return (
    node.arguments.length >= (name.text === "catch" ? 1 : name.text === "then" ? 2 : Number.POSITIVE_INFINITY)
  )
}

/** Source text on one line of at most 60 characters. */
export const excerpt = (text: string): string => {
  const line = text.replace(/\s+/g, " ").trim()
  return line.length > 60 ? `${line.slice(0, 59)}…` : line
}

/** The module specifiers from which the file imports values or types. */
export const specifiersOf = (ast: typeof Ast, file: Ast.SourceFile): ReadonlyArray<Ast.StringLiteral> => {
  const found: Array<Ast.StringLiteral> = []
  const add = (node: Ast.Node | undefined) => {
    if (node !== undefined && ast.isStringLiteral(node)) found.push(node)
  }
  const visit = (node: Ast.Node): void => {
    if (ast.isImportDeclaration(node)) {
      if (node.importClause !== undefined) add(node.moduleSpecifier)
    } else if (ast.isExportDeclaration(node)) add(node.moduleSpecifier)
    else if (ast.isExternalModuleReference(node)) add(node.expression)
    else if (ast.isCallExpression(node) && node.expression.kind === ast.SyntaxKind.ImportKeyword)
      add(node.arguments[0])
    node.forEachChild(visit)
  }
  file.forEachChild(visit)
  return found
}

/** Whether a comment switches the rule off, as for the Effect diagnostics: on the line above, or for the file. */
export const isSwitchedOff = (text: string, at: number, rule: Rule): boolean => {
  const above = text.slice(0, text.lastIndexOf("\n", at - 1) + 1)
  const lists = Array.from(above.matchAll(/@effect-diagnostics\s+(.*)$/gm), ([, list]) => list!)
  const line = above.trimEnd()
  const comment = line.slice(line.lastIndexOf("\n") + 1)
  lists.push(/@effect-diagnostics-next-line\s+(.*)$/.exec(comment)?.[1] ?? "")
  return lists.some((list) => list.split(/\s+/).some((one) => one === `${rule}:off` || one === "*:off"))
}
