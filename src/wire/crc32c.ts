/**
 * CRC32c (Castagnoli; RFC 9260 App. A), least significant bit first. It is linear: what a change of a few bytes does to
 * the sum of a message follows from the change and from how many bytes come behind it, whatever those are.
 */
const POLYNOMIAL = 0x82f63b78;
/** The polynomial 1, and x, in this bit order. */
const ONE = 1 << 31;
const X = 1 << 30;
/** [k]: x to the power of 2^k; enough for the bits of 64 KiB. */
const POWERS = new Int32Array(20);

/** a × b modulo the polynomial. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= b;
    b = (b & 1) !== 0 ? (b >>> 1) ^ POLYNOMIAL : b >>> 1;
  }
  return product;
}

for (let k = 0, power = X; k < POWERS.length; k++, power = multiply(power, power)) POWERS[k] = power;

/**
 * What changes in the sum of a message when 16 bits of it do.
 * @param change of the two bytes, the first one high: old XOR new
 * @param behind bytes of the message behind them, below 64 KiB
 */
export function crcChange(change: number, behind: number): number {
  // As a message by itself: the first byte stands for the highest powers.
  let sum = (change >>> 8) | ((change & 0xff) << 8);
  for (let bit = 0; bit < 16; bit++) sum = (sum & 1) !== 0 ? (sum >>> 1) ^ POLYNOMIAL : sum >>> 1;
  for (let k = 3, left = behind; left !== 0; k++, left >>>= 1) {
    if ((left & 1) !== 0) sum = multiply(POWERS[k]!, sum);
  }
  return sum;
}
