/** For those who test with us. */
export * as VirtualClock from "../services/VirtualClock.js"
export * as Interleave from "./Interleave.js"
