import { accessSync, constants, mkdirSync } from "node:fs"

/** Throws where nothing can be put into the folder, which is made where it is not there. */
export const usable = (directory: string): void => {
  mkdirSync(directory, { recursive: true })
  accessSync(directory, constants.W_OK | constants.X_OK)
}
