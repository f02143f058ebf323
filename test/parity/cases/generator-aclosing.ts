// What Python has aclosing for is here what leaving a loop does anyway.
export { default } from "./generator-break.js"
