import { useId, useState } from "react";

import { read, type Field } from "./question";

interface NumberFieldProps {
  field: Field;
  /** What stands in the address, as it is typed. */
  value: string;
  /** Stands in an empty field: what is taken then. */
  placeholder?: string;
  /** Said below it; a fault takes its place. */
  hint?: string;
  /** Why the API does not take the value. */
  fault?: string | null;
  /** More than the field's own range, as "two significant digits". */
  check?: (value: number) => string | null;
  onChange: (value: string) => void;
}

/** A number to type. What is no such number is said at once and not asked about. */
export function NumberField({ field, value, placeholder, hint, fault, check, onChange }: NumberFieldProps) {
  const [text, setText] = useState(value);
  const [seen, setSeen] = useState(value);
  const id = useId();
  // The address may change otherwise: by the slider, a link, or going back.
  if (value !== seen) {
    setSeen(value);
    if (Number(value) !== Number(text.replace(",", ".")) || text.trim() === "") setText(value);
  }
  const given = read(field, text);
  const own =
    given === null
      ? `From ${spelled(field.least)} to ${spelled(field.most)}${field.step === 1 ? ", a whole number" : ""}.`
      : given !== "" && check
        ? check(Number(text))
        : null;
  const wrong = own ?? fault ?? null;
  return (
    <div className="field">
      <label htmlFor={id}>{field.label}</label>
      <span className={wrong ? "field-box wrong" : "field-box"}>
        <input
          id={id}
          type="text"
          inputMode={field.step === 1 ? "numeric" : "decimal"}
          autoComplete="off"
          value={text}
          placeholder={placeholder}
          aria-invalid={wrong !== null}
          aria-describedby={hint || wrong ? `${id}-hint` : undefined}
          onChange={(event) => {
            const next = event.currentTarget.value;
            setText(next);
            const valid = read(field, next);
            if (valid !== null && !(valid !== "" && check?.(Number(next)))) {
              setSeen(next);
              onChange(valid);
            }
          }}
        />
        {field.unit && <span className="field-unit">{field.unit}</span>}
      </span>
      {(hint ?? wrong) && (
        <p id={`${id}-hint`} className={wrong ? "field-hint tone-limit" : "field-hint"}>
          {wrong ?? hint}
        </p>
      )}
    </div>
  );
}

function spelled(bound: number): string {
  return bound < 0.001 ? bound.toExponential().replace("e-", "e−") : bound.toLocaleString("en");
}
