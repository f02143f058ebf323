import * as ServerCompare from "../../programs/ServerCompare.js"
import * as Comparison from "../kernel/Comparison.js"
import { report } from "./compareView.js"

export interface Config extends Comparison.Config, ServerCompare.CompareOptions {
  /** Columns of the terminal. */
  readonly columns?: number | undefined
}

/** `aio server --compare`. */
export const run = ({ columns = 80, ...config }: Config) =>
  Comparison.run(Comparison.view(columns, report), ServerCompare.compare(config), config)

/** What {@link run} needs. */
export const layer = Comparison.layer
