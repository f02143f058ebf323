/** Tools for tests of programs that are built with this library, or with Effect alone. */
export * as VirtualClock from "../services/time/VirtualClock.js"
export * as Interleave from "./Interleave.js"
