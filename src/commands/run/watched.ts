/** Set in the environment of a child of `aio run --watch`: there the option has no effect. */
export const variable = "EFFECT_ASYNCIO_RUN_WATCHED"

/** Whether this process is such a child. What it starts itself is not. */
export const isChild = (): boolean => {
  const isSet = process.env[variable] !== undefined
  delete process.env[variable]
  return isSet
}
