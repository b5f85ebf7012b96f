/** The arguments of a call, to be looked at and changed: a field each where they are plain, else as JSON. */

import { useId } from "react";
import { Exact, type Json, type JsonObject, parse, stringify, toNumber } from "../client";
import { useWords } from "../i18n";
import { inSight, turns } from "../ui/turning";
import type { Given } from "./given";

interface Props {
  args: JsonObject;
  schema: JsonObject;
  disabled: boolean;
  given: Given;
  onGive: (change: Given) => void;
}

type Plain = string | number | Exact | boolean;
/** A text that turns its own order is none to be looked at as it is: as JSON, that is seen. */
const isPlain = (value: Json | undefined): value is Plain =>
  typeof value === "string" ? !turns(value) : value instanceof Exact || ["number", "boolean"].includes(typeof value);

export function ArgsEditor(props: Props) {
  const { args } = props;
  if (!Object.keys(args).length && !Object.keys(propertiesOf(props.schema)).length) return null;
  return Object.entries(args).every(([name, value]) => !turns(name) && isPlain(value)) ? <Fields {...props} /> : <AsJson {...props} />;
}

/** The arguments as they were changed; null while what is typed cannot be read. */
export function changedArgs(args: JsonObject, { values, json }: Given): JsonObject | null {
  if (json !== undefined) return parseObject(json);
  if (!values) return args;
  return Object.values(values).some((one) => typeof one === "number" && Number.isNaN(one)) ? null : values;
}

function propertiesOf(schema: JsonObject): Record<string, JsonObject> {
  const properties = schema["properties"];
  return typeof properties === "object" && properties !== null ? (properties as Record<string, JsonObject>) : {};
}

function Fields({ args, schema, disabled, given, onGive }: Props) {
  const id = useId();
  const values = given.values ?? args;
  const properties = propertiesOf(schema);
  const set = (name: string, value: Plain) => onGive({ values: { ...values, [name]: value } });
  return (
    <div className="args">
      {Object.entries(values).map(([name, value]) => {
        const fieldId = `${id}-${name}`;
        const told = properties[name] ?? {};
        const hint = typeof told["description"] === "string" ? told["description"] : "";
        const options = Array.isArray(told["enum"]) ? told["enum"].filter((one) => typeof one === "string") : [];
        return (
          <div key={name} className="arg">
            <label htmlFor={fieldId}>
              <code>{name}</code>
            </label>
            {typeof value === "boolean" ? (
              <input id={fieldId} aria-describedby={hint ? `${fieldId}-hint` : undefined} type="checkbox" checked={value} disabled={disabled} onChange={(event) => set(name, event.target.checked)} />
            ) : typeof value === "number" || value instanceof Exact ? (
              <input id={fieldId} aria-describedby={hint ? `${fieldId}-hint` : undefined} type="number" step="any" value={value instanceof Exact ? value.source : Number.isNaN(value) ? "" : value} disabled={disabled} onChange={(event) => set(name, toNumber(event.target.value))} />
            ) : options.length ? (
              <select id={fieldId} aria-describedby={hint ? `${fieldId}-hint` : undefined} value={String(value)} disabled={disabled} onChange={(event) => set(name, event.target.value)}>
                {options.map((option) => (
                  <option key={option}>{option}</option>
                ))}
              </select>
            ) : (
              <textarea id={fieldId} aria-describedby={hint ? `${fieldId}-hint` : undefined} rows={String(value).length > 80 || String(value).includes("\n") ? 4 : 1} value={String(value)} disabled={disabled} onChange={(event) => set(name, event.target.value)} />
            )}
            {hint ? <small id={`${fieldId}-hint`}>{hint}</small> : null}
          </div>
        );
      })}
    </div>
  );
}

function AsJson({ args, disabled, given, onGive }: Props) {
  const { t } = useWords();
  const id = useId();
  const text = given.json ?? inSight(stringify(args, 2));
  const broken = changedArgs(args, given) === null;
  return (
    <div className="args">
      <label htmlFor={id}>{t("tool.args")}</label>
      <textarea
        id={id}
        className="json"
        rows={Math.min(text.split("\n").length, 12)}
        spellCheck={false}
        value={text}
        disabled={disabled}
        aria-invalid={broken}
        aria-describedby={broken ? `${id}-problem` : undefined}
        onChange={(event) => onGive({ json: event.target.value })}
      />
      {broken ? (
        <small id={`${id}-problem`} className="problem">
          {t("question.no_json")}
        </small>
      ) : null}
    </div>
  );
}

export function parseObject(text: string): JsonObject | null {
  try {
    const value = parse(text) as Json;
    return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Exact) ? value : null;
  } catch {
    return null;
  }
}
