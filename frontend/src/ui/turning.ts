/** Signs without a look that turn the order of what follows: an address or a name reads as another one with them. */

const TURNING = /[\u202a-\u202e\u2066-\u2069]/g;

/** A text to be read: in the order that it is in. */
export function straight(text: string): string {
  return text.replace(TURNING, "");
}

/** Data to be judged: with each such sign in sight, as JSON writes it. */
export function inSight(text: string): string {
  return text.replace(TURNING, (sign) => `\\u${sign.charCodeAt(0).toString(16)}`);
}

export function turns(text: string): boolean {
  return text.search(TURNING) >= 0;
}
