import { describe, expect, it } from "vitest";
import { Exact, parse, stringify, toNumber } from "../../src/client/exact";

describe("JSON with long integers", () => {
  it.each([
    '{"id":1234567890123456789}',
    "[-98765432109876543210,9007199254740993,[1,2.5,true,null]]",
    '{"a \\"1234567890123456789\\" b":"id 1234567890123456789","c":[12345678901234567890,"12345678901234567890"]}',
    '"1234567890123456789"',
    "1234567890123456789",
  ])("comes back as it went: %s", (text) => expect(stringify(parse(text))).toBe(text));

  it("holds as numbers what numbers can hold", () => {
    expect(parse("[9007199254740991,1e30,0.1234567890123456,12]")).toEqual([9007199254740991, 1e30, 0.1234567890123456, 12]);
    expect(parse("[9007199254740993]")).toEqual([new Exact("9007199254740993")]);
  });

  it.each(['{"a":00012345678901234567890}', "{1234567890123456789}", "{1234567890123456789: 1}", '{"a":12345678901234567890'])("is refused where it is none: %s", (text) => {
    expect(() => parse(text)).toThrow(SyntaxError);
  });

  it("is refused at once where it is a text without an end", () => {
    const began = performance.now();
    expect(() => parse(`{"n":12345678901234567890,"s":"${'\\"'.repeat(20_000)}`)).toThrow(SyntaxError);
    expect(performance.now() - began, "milliseconds").toBeLessThan(1000); // it took seconds
  });

  it("comes back with any number of escapes", () => {
    const text = `{"s":"${"\\n".repeat(5_000_000)}","n":12345678901234567890}`;
    expect(parse(text)).toMatchObject({ n: new Exact("12345678901234567890") });
  });

  it("reads a number as it is typed", () => {
    expect(["7", "-0.5", "1e3", "0012", ""].map(toNumber)).toEqual([7, -0.5, 1000, 12, NaN]);
    expect(toNumber("-0012345678901234567890")).toEqual(new Exact("-12345678901234567890"));
  });
});
