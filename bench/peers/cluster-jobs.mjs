export const inc = (n) => n + 1
export const now = () => Date.now()
