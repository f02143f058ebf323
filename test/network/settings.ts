import { ConfigProvider, Layer } from "effect"

// What scripts/services.mjs has started.

/** The variables of the environment with which the services are reached. */
export const settings = JSON.parse(process.env["AIO_TEST_SERVICES"] ?? "{}") as Record<string, string>

/** The files of programs that tests start themselves. */
export const binaries = JSON.parse(process.env["AIO_TEST_BINARIES"] ?? "{}") as Record<string, string>

/** A layer that reads these settings, and perhaps others. */
export const configured = <A, E, R>(layer: Layer.Layer<A, E, R>, more: Record<string, string> = {}) =>
  Layer.provide(
    layer,
    Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries({ ...settings, ...more }))))
  )
