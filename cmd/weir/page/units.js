// Numbers as people read them.

// duration writes seconds with two units at most.
export function duration(seconds) {
  if (seconds <= 0) return "0 ms";
  if (seconds < 0.9995) return `${seconds < 0.01 ? (seconds * 1000).toFixed(1) : Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${+seconds.toFixed(1)} s`;
  let rest = Math.round(seconds);
  if (rest < 60) return `${rest} s`;
  for (const [big, bigName, small, smallName] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]]) {
    if (rest < big) continue;
    const n = Math.floor(rest / big), m = Math.floor((rest % big) / small);
    return m ? `${n} ${bigName} ${m} ${smallName}` : `${n} ${bigName}`;
  }
}

// age writes seconds that go by, without their parts.
export const age = (seconds) => (seconds < 1 ? "0 s" : duration(Math.floor(seconds)));

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${i ? n.toFixed(1) : n} ${units[i]}`;
}

// rate writes a number per second.
export function rate(n) {
  return `${n >= 1000 ? `${(n / 1000).toFixed(1)}k` : n >= 10 ? Math.round(n) : +n.toFixed(1)}/s`;
}

export function count(n, one, many = `${one}s`) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

// clock writes the time of day of a Date.
export function clock(date) {
  const two = (n) => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

// moment writes a Date, with the day where it is not today.
export function moment(date, now) {
  const day = date.toDateString() === now.toDateString() ? "" : `${date.toLocaleDateString(undefined, { month: "short", day: "numeric" })} `;
  return day + clock(date);
}
