/*
 * What Go 1.26's text/template with Prometheus 3.16's functions answers to each of these texts, run
 * with the environment of test_template.c: "OK " and the output, "ERR " and the run's error, or
 * "PARSE " and the parser's. Made by a program that runs both; regexp error texts are Go's.
 */
    { "{{ $value }}",
      "OK 0.0012345" },
    { "{{ $labels.instance }}",
      "OK host-1.example.com:9100" },
    { "{{$labels.nothere}}|{{ $labels.a.b }}",
      "ERR error executing template __alert_X: template: __alert_X:1:142: executing "
      "\"__alert_X\" at <$labels.a.b>: can't evaluate field b in type string" },
    { "{{ $value | humanize }} {{ humanize1024 $value }} {{ humanizeDuration $value }"
      "} {{ humanizePercentage $value }} {{ humanizeTimestamp $value }}",
      "OK 1.234m 0.001234 1.234ms 0.1234% 1970-01-01 00:00:00.001 +0000 UTC" },
    { "{{ printf \"%.2f\" $value }} {{ printf \"%d\" $value }} {{ printf \"%s\" $valu"
      "e }} {{ printf \"%v %q %t %x\" $value $value $value $value }}",
      "OK 0.00 %!d(float64=0.0012345) %!s(float64=0.0012345) 0.0012345 %!q(float64=0."
      "0012345) %!t(float64=0.0012345) 0x1.439de481f5382p-10" },
    { "{{ printf \"%d %s %5d|%-5d|%05d %+d %x %X %o %b %c %q %U %#x %#o\" 42 42 42 42"
      " 42 42 42 42 42 42 42 42 42 42 42 }}",
      "OK 42 %!s(int=42)    42|42   |00042 +42 2a 2A 52 101010 * '*' U+002A 0x2a 052" },
    { "{{ printf \"%s %q %x %X %10s|%-10s|%.2s %v %d\" \"hi\" \"hi\" \"hi\" \"hi\" \""
      "hi\" \"hi\" \"hiya\" \"x\" \"y\" }}",
      "OK hi \"hi\" 6869 6869         hi|hi        |hi x %!d(string=y)" },
    { "{{ printf \"%e %E %f %g %G %8.3f|%-8.3f|%08.3f %+.1f % d\" $value $value $valu"
      "e $value $value $value $value $value $value 5 }}",
      "OK 1.234500e-03 1.234500E-03 0.001234 0.0012345 0.0012345    0.001|0.001   |00"
      "00.001 +0.0  5" },
    { "{{ printf \"%t %v %s\" true false true }}",
      "OK true false %!s(bool=true)" },
    { "{{ printf \"%d\" }} {{ printf \"%d %d\" 1 }} {{ printf \"x\" 1 2.5 \"s\" nil }"
      "} {{ printf \"%!\" }} {{ printf \"%z\" 1 }} {{ printf \"%\" }}",
      "OK %!d(MISSING) 1 %!d(MISSING) x%!(EXTRA int=1, float64=2.5, string=s, <nil>) "
      "%!!(MISSING) %!z(int=1) %!(NOVERB)" },
    { "{{ printf \"%[2]d %[1]d\" 1 2 }} {{ printf \"%[3]d\" 1 }} {{ printf \"%*d|%-*d"
      "\" 5 1 5 2 }} {{ printf \"%[1]*[2]d\" 6 7 }} {{ printf \"%.*f\" 2 1.5 }}",
      "OK 2 1 %!d(BADINDEX)     1|2          7 1.50" },
    { "{{ printf \"%T %T %T %T %T %T %T\" 1 1.5 \"s\" true $labels $value 'a' }}",
      "OK int float64 string bool map[string]string float64 int" },
    { "{{ print 1 2 \"a\" \"b\" 3 4.5 true nil }} {{ println 1 \"a\" 2 }}",
      "OK 1 2ab3 4.5 true <nil> 1 a 2\012" },
    { "{{ len $labels }} {{ len \"abc\" }} {{ len 3 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:149: executing "
      "\"__alert_X\" at <len 3>: error calling len: len of type int" },
    { "{{ len nil }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <len nil>: error calling len: reflect: call of reflect.Value."
      "Type on zero Value" },
    { "{{ index $labels \"job\" }} {{ index \"abc\" 1 }} {{ index $labels \"none\" }}",
      "OK node 98 " },
    { "{{ index $labels 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <index $labels 1>: error calling index: value has type int; s"
      "hould be string" },
    { "{{ index \"abc\" 3 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <index \"abc\" 3>: error calling index: reflect: string index"
      " out of range" },
    { "{{ index \"abc\" 4 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <index \"abc\" 4>: error calling index: index out of range: 4" },
    { "{{ index nil 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <index nil 1>: error calling index: index of untyped nil" },
    { "{{ slice \"abcdef\" 1 3 }} {{ slice \"abc\" 1 }} {{ slice \"abc\" }}",
      "OK bc bc abc" },
    { "{{ slice \"abc\" 2 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <slice \"abc\" 2 1>: error calling slice: invalid slice index"
      ": 2 > 1" },
    { "{{ slice \"abc\" 9 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <slice \"abc\" 9>: error calling slice: index out of range: 9" },
    { "{{ slice 1 2 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <slice 1 2>: error calling slice: can't slice item of type in"
      "t" },
    { "{{ if eq $labels.job \"node\" }}yes{{ else }}no{{ end }}",
      "OK yes" },
    { "{{ if gt $value 1.0 }}big{{ else if lt $value 0.01 }}small{{ else }}mid{{ end "
      "}}",
      "OK small" },
    { "{{ if gt $value 1 }}x{{ end }}",
      "ERR error executing template __alert_X: template: __alert_X:1:118: executing "
      "\"__alert_X\" at <gt $value 1>: error calling gt: incompatible types for compa"
      "rison: float64 and int" },
    { "{{ eq 1 1 }} {{ eq 1 2 3 1 }} {{ ne \"a\" \"b\" }} {{ lt 1 2 }} {{ le 2 2 }} {"
      "{ gt \"b\" \"a\" }} {{ ge 1.5 1.5 }}",
      "OK true true true true true true true" },
    { "{{ eq 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <eq 1>: error calling eq: missing argument for comparison" },
    { "{{ eq 1 \"a\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <eq 1 \"a\">: error calling eq: incompatible types for compar"
      "ison: int and string" },
    { "{{ eq 1 1.0 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <eq 1 1.0>: error calling eq: incompatible types for comparis"
      "on: int and float64" },
    { "{{ lt true false }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <lt true false>: error calling lt: invalid type for compariso"
      "n" },
    { "{{ lt $labels $labels }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <lt $labels $labels>: error calling lt: invalid type for comp"
      "arison" },
    { "{{ eq $labels $labels }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <eq $labels $labels>: error calling eq: non-comparable type m"
      "ap[esc:a<b>&\"c' instance:host-1.example.com:9100 job:node severity:critical]:"
      " map[string]string" },
    { "{{ eq nil nil }}",
      "OK true" },
    { "{{ and true 1 \"x\" }} {{ and 0 1 }} {{ or 0 \"\" \"z\" }} {{ or 0 \"\" }} {{ "
      "not 0 }} {{ not \"a\" }} {{ 1 | and 2 }} {{ 0 | or 3 }}",
      "OK x 0 z  true false 1 3" },
    { "{{ range $k, $v := $labels }}{{ $k }}={{ $v }};{{ end }}",
      "OK esc=a<b>&\"c';instance=host-1.example.com:9100;job=node;severity=critical;" },
    { "{{ range $v := $labels }}{{ $v }};{{ end }}{{ range $labels }}{{ . }},{{ end }"
      "}",
      "OK a<b>&\"c';host-1.example.com:9100;node;critical;a<b>&\"c',host-1.example.co"
      "m:9100,node,critical," },
    { "{{ range 3 }}{{ . }}{{ end }} {{ range $i := 3 }}{{ $i }}{{ end }}",
      "OK 012 012" },
    { "{{ range $i, $j := 3 }}{{ $i }}{{ end }}",
      "ERR error executing template __alert_X: template: __alert_X:1:131: executing "
      "\"__alert_X\" at <3>: can't use 3 to iterate over more than one variable" },
    { "{{ range \"abc\" }}{{ . }}{{ end }}",
      "ERR error executing template __alert_X: template: __alert_X:1:121: executing "
      "\"__alert_X\" at <\"abc\">: range can't iterate over abc" },
    { "{{ range 1.5 }}{{ . }}{{ end }}",
      "ERR error executing template __alert_X: template: __alert_X:1:121: executing "
      "\"__alert_X\" at <1.5>: range can't iterate over 1.5" },
    { "{{ range nil }}{{ end }}",
      "ERR error executing template __alert_X: template: __alert_X:1:121: executing "
      "\"__alert_X\" at <nil>: nil is not a command" },
    { "{{ range $x.y }}{{ end }}",
      "PARSE template: __alert_X:1: undefined variable \"$x\"" },
    { "{{ range query \"empty\" }}x{{ else }}none{{ end }}",
      "OK none" },
    { "{{ range query \"up\" }}{{ .Labels.inst }}:{{ .Value }} {{ . | value | humaniz"
      "e }} {{ label \"inst\" . }} {{ . }}",
      "PARSE template: __alert_X:1: unexpected EOF" },
    { "{{ end }}",
      "PARSE template: __alert_X:1: unexpected {{end}}" },
    { "{{ range $i, $s := query \"up\" | sortByLabel \"inst\" }}{{ $i }}{{ $s.Labels."
      "inst }}{{ if eq $i 1 }}{{ break }}{{ end }}{{ end }}",
      "OK 0a1b" },
    { "{{ range query \"up\" }}{{ if eq .Value 2.5 }}{{ continue }}{{ end }}{{ .Value"
      " }} {{ end }}",
      "OK 1 1e+09 " },
    { "{{ query \"up\" | first | value }} {{ query \"up\" | first | label \"inst\" }}"
      " {{ with query \"up\" }}{{ . | first | value | humanize }}{{ end }}",
      "OK 1 b 1" },
    { "{{ query \"empty\" | first }}",
      "ERR error executing template __alert_X: template: __alert_X:1:131: executing "
      "\"__alert_X\" at <first>: error calling first: first() called on vector with n"
      "o elements" },
    { "{{ query \"fail\" | first }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <query \"fail\">: error calling query: query failed" },
    { "{{ query 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:121: executing "
      "\"__alert_X\" at <1>: expected string; found 1" },
    { "{{ first nil }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <first nil>: error calling first: first() called on vector wi"
      "th no elements" },
    { "{{ value nil }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <value nil>: error calling value: runtime error: invalid memo"
      "ry address or nil pointer dereference" },
    { "{{ value 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:121: executing "
      "\"__alert_X\" at <1>: can't handle 1 for arg of type *template.sample" },
    { "{{ label 1 2 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:121: executing "
      "\"__alert_X\" at <1>: expected string; found 1" },
    { "{{ (query \"up\" | first).Labels }} {{ (query \"up\" | first).Value }} {{ (que"
      "ry \"up\" | first).Foo }}",
      "ERR error executing template __alert_X: template: __alert_X:1:196: executing "
      "\"__alert_X\" at <first>: can't evaluate field Foo in type *template.sample" },
    { "{{ printf \"%v\" (query \"up\" | first) }} {{ printf \"%s\" (query \"up\" | fi"
      "rst) }}  {{ printf \"%+v\" (query \"up\" | first) }}",
      "OK &{map[__name__:m inst:b z:1] 1} &{map[__name__:m inst:b z:1] %!s(float64=1)"
      "}  &{Labels:map[__name__:m inst:b z:1] Value:1}" },
    { "{{ strvalue (query \"up\" | first) }}|",
      "OK |" },
    { "{{ $x := 1 }}{{ $x = 2 }}{{ $x }}{{ if true }}{{ $x = 3 }}{{ $y := 4 }}{{ $y }"
      "}{{ end }}{{ $x }}",
      "OK 243" },
    { "{{ with $labels.job }}{{ . }}{{ end }}{{ with $labels.none }}x{{ else }}y{{ en"
      "d }}{{ with $labels.none }}x{{ else with $labels.job }}{{ . }}{{ end }}",
      "OK nodeynode" },
    { "{{ define \"T\" }}<{{ . }}>{{ end }}{{ template \"T\" $value }}{{ template \"T"
      "\" }}{{ template \"T\" \"a\" }}",
      "OK <0.0012345><<no value>><a>" },
    { "{{ block \"B\" $labels }}{{ .job }}{{ end }}",
      "OK node" },
    { "{{ template \"none\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:124: executing "
      "\"__alert_X\" at <{{template \"none\"}}>: template \"none\" not defined" },
    { "{{ define \"R\" }}{{ $labels.job }}{{ end }}",
      "PARSE template: __alert_X:1: undefined variable \"$labels\"" },
    { "{{ define \"E\" }}{{ .x.y.z | toUpper }}{{ end }}{{ template \"E\" . }}",
      "ERR error executing template __alert_X: template: __alert_X:1:133: executing "
      "\"E\" at <.x.y.z>: can't evaluate field x in type struct { Labels map[string]s"
      "tring; ExternalLabels map[string]string; ExternalURL string; Value interface {"
      "} }" },
    { "{{- \"a\" -}}   b   {{- \"c\" }}  {{/* comment */}}x{{- /* c */ -}} y",
      "OK abc  xy" },
    { "a",
      "OK a" },
    { "  {{- if true }}",
      "PARSE template: __alert_X:1: unexpected EOF" },
    { "  b",
      "OK   b" },
    { "  {{- end }}",
      "PARSE template: __alert_X:1: unexpected {{end}}" },
    { "{{ \"a\\tb\\\"c\\\\\" }} {{ `raw \\n` }} {{ 'a' }} {{ '\\n' }} {{ 0x1F }} {{ 1"
      "e3 }} {{ 017 }} {{ 0b11 }} {{ 1_000 }} {{ -5 }} {{ +5 }} {{ .5 }} {{ 1.0 }} {{"
      " 1i }} {{ 1+2i }}",
      "OK a\011b\"c\\ raw \\n 97 10 31 1000 15 3 1000 -5 5 0.5 1 (0+1i) (1+2i)" },
    { "{{ 99999999999999999999 }}",
      "PARSE template: __alert_X:1: integer overflow: \"99999999999999999999\"" },
    { "{{ 9223372036854775808 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <9223372036854775808>: 9223372036854775808 overflows int" },
    { "{{ 089 }}",
      "PARSE template: __alert_X:1: integer overflow: \"089\"" },
    { "{{ true }} {{ false }} {{ nil }}",
      "ERR error executing template __alert_X: template: __alert_X:1:138: executing "
      "\"__alert_X\" at <nil>: nil is not a command" },
    { "{{ title \"hello world-foo it's foo.bar foo_bar 3rd a..b a:b\" }} {{ toUpper "
      "\"a\303\251\303\237\" }} {{ toLower \"A\303\211\" }}",
      "OK Hello World-Foo It's Foo.bar Foo_bar 3Rd A..B A:b A\303\211\303\237 a\303"
      "\251" },
    { "{{ title \"\303\274n\303\257code \303\211T\303\211 x/y (abc) [def] a,b 10th_x"
      "\" }}",
      "OK \303\234n\303\257code \303\211T\303\211 X/Y (Abc) [Def] A,B 10Th_x" },
    { "{{ stripPort \"h:80\" }} {{ stripPort \"[::1]:80\" }} {{ stripPort \"h\" }} {{"
      " stripPort \"a:b:c\" }} {{ stripPort \"\" }}",
      "OK h ::1 h a:b:c " },
    { "{{ stripDomain \"a.b.c\" }} {{ stripDomain \"a.b.c:80\" }} {{ stripDomain \"1."
      "2.3.4\" }} {{ stripDomain \"1.2.3.4:80\" }} {{ stripDomain \"[::1]:80\" }} {{ "
      "stripDomain \"::1\" }} {{ stripDomain \"x\" }}",
      "OK a a:80 1.2.3.4 1.2.3.4:80 [::1]:80 ::1 x" },
    { "{{ $labels.instance | reReplaceAll \":.*\" \"\" }} {{ reReplaceAll \"(.*)-(.*)"
      "\" \"$2-${1}\" \"a-b\" }} {{ match \"h.*\" \"host\" }} {{ match \"^x\" \"host"
      "\" }}",
      "OK host-1.example.com b-a true false" },
    { "{{ reReplaceAll \"[\" \"\" \"a\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <reReplaceAll \"[\" \"\" \"a\">: error calling reReplaceAll: "
      "regexp: Compile(`[`): error parsing regexp: missing closing ]: `[`" },
    { "{{ match \"(\" \"a\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <match \"(\" \"a\">: error calling match: error parsing regex"
      "p: missing closing ): `(`" },
    { "{{ $labels.esc | html }} {{ $labels.esc | js }} {{ $labels.esc | urlquery }} {"
      "{ urlQueryEscape \"a b&c/d~\303\251\" }} {{ safeHtml \"<b>\" }} {{ html 1 2 \""
      "a\" }} {{ urlquery nil }}",
      "OK a&lt;b&gt;&amp;&#34;c&#39; a\\u003Cb\\u003E\\u0026\\\"c\\' a%3Cb%3E%26%22c%"
      "27 a+b%26c%2Fd~%C3%A9 <b> 1 2a %3Cno+value%3E" },
    { "{{ graphLink \"up{a=\\\"b\\\"}\" }} {{ tableLink \"rate(x[5m])\" }} {{ pathPre"
      "fix }} {{ externalURL }} {{ $externalURL }} {{ $externalLabels.site }} {{ .Ext"
      "ernalLabels }} {{ .ExternalURL }}",
      "OK /graph\?g0.expr=up%7Ba%3D%22b%22%7D&g0.tab=0 /graph\?g0.expr=rate%28x%5B5m%"
      "5D%29&g0.tab=1 /base http://prom.example.com/base http://prom.example.com/base"
      " eqiad map[site:eqiad] http://prom.example.com/base" },
    { "{{ now }} {{ now | humanizeTimestamp }} {{ toTime now }} {{ (toTime now).Forma"
      "t \"2006-01-02T15:04:05.000Z07:00 Mon January _2 3PM\" }} {{ (toTime now).Unix"
      " }} {{ (toTime $value).Year }} {{ (toTime now).Month }} {{ (toTime now).Weekda"
      "y }} {{ (toTime now).YearDay }}",
      "OK 1.435065584128e+09 2015-06-23 13:19:44.128 +0000 UTC 2015-06-23 13:19:44.12"
      "8 +0000 UTC 2015-06-23T13:19:44.128Z Tue June 23 1PM 1435065584 1970 June Tues"
      "day 174" },
    { "{{ toDuration $value }} {{ toDuration 3723.5 }} {{ (toDuration 90).Minutes }} "
      "{{ toDuration 0 }} {{ toDuration -1.5 }} {{ toDuration \"1e-7\" }} {{ toDurati"
      "on 1e300 }}",
      "OK 1.2345ms 1h2m3.5s 1.5 0s -1.5s 100ns -2562047h47m16.854775808s" },
    { "{{ printf \"%v %s %d\" (toDuration 90) (toDuration 1.5) 3 }} {{ printf \"%T %T"
      "\" (toTime 1) (toDuration 1) }}",
      "OK 1m30s 1.5s 3 *time.Time *time.Duration" },
    { "{{ toTime \"NaN\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <toTime \"NaN\">: error calling toTime: value is NaN or Inf" },
    { "{{ toTime 1e300 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <toTime 1e300>: error calling toTime: 1e+300 cannot be repres"
      "ented as a nanoseconds timestamp since it overflows int64" },
    { "{{ humanizeTimestamp 1e300 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <humanizeTimestamp 1e300>: error calling humanizeTimestamp: 1"
      "e+300 cannot be represented as a nanoseconds timestamp since it overflows int6"
      "4" },
    { "{{ humanizeTimestamp \"NaN\" }} {{ humanizeTimestamp \"+Inf\" }} {{ humanize "
      "\"-Inf\" }} {{ humanize \"NaN\" }} {{ humanizePercentage \"Inf\" }} {{ humaniz"
      "eDuration \"NaN\" }}",
      "OK NaN +Inf -Inf NaN +Inf% NaN" },
    { "{{ parseDuration \"1h30m\" }} {{ parseDuration \"-5m\" }} {{ parseDuration \"0"
      "\" }} {{ parseDuration \"250ms\" }}",
      "OK 5400 -300 0 0.25" },
    { "{{ parseDuration \"x\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <parseDuration \"x\">: error calling parseDuration: not a val"
      "id duration string: \"x\"" },
    { "{{ parseDuration \"\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <parseDuration \"\">: error calling parseDuration: empty dura"
      "tion string" },
    { "{{ humanize \"abc\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <humanize \"abc\">: error calling humanize: strconv.ParseFloa"
      "t: parsing \"abc\": invalid syntax" },
    { "{{ humanize true }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <humanize true>: error calling humanize: can't convert bool t"
      "o float" },
    { "{{ humanize nil }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <humanize nil>: error calling humanize: can't convert <nil> t"
      "o float" },
    { "{{ humanize \"1e400\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <humanize \"1e400\">: error calling humanize: strconv.ParseFl"
      "oat: parsing \"1e400\": value out of range" },
    { "{{ humanizeDuration (toDuration 5) }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <humanizeDuration (toDuration 5)>: error calling humanizeDura"
      "tion: can't convert *time.Duration to float" },
    { "{{ args 1 \"b\" }} {{ with args 1 \"b\" }}{{ .arg0 }}{{ .arg1 }}{{ .arg9 }}{{ "
      "end }}",
      "OK map[arg0:1 arg1:b] 1b<no value>" },
    { "{{ range $k, $v := args 1 \"b\" 2.5 }}{{ $k }}{{ $v }}{{ end }}",
      "OK arg01arg1barg22.5" },
    { "{{ humanizeDuration 0 }} {{ humanizeDuration 59.9 }} {{ humanizeDuration 60 }}"
      " {{ humanizeDuration 3600 }} {{ humanizeDuration 86400 }} {{ humanizeDuration "
      "-90061 }} {{ humanizeDuration 0.0001 }} {{ humanizeDuration 899.99 }} {{ human"
      "izeDuration 1e20 }}",
      "OK 0s 59.9s 1m 0s 1h 0m 0s 1d 0h 0m 0s -1d 1h 1m 1s 100us 14m 59s -10675199116"
      "7300d -15h -30m -8s" },
    { "{{ humanize 0 }} {{ humanize 1 }} {{ humanize 999.9 }} {{ humanize 1000000 }} "
      "{{ humanize 1e27 }} {{ humanize 0.001 }} {{ humanize 1e-30 }} {{ humanize -123"
      "4 }} {{ humanize1024 1024 }} {{ humanize1024 1 }} {{ humanize1024 1e15 }} {{ h"
      "umanize 12345678 }}",
      "OK 0 1 999.9 1M 1000Y 1m 1e-06y -1.234k 1ki 1 909.5Ti 12.35M" },
    { "{{ $value.foo }}",
      "ERR error executing template __alert_X: template: __alert_X:1:121: executing "
      "\"__alert_X\" at <$value.foo>: can't evaluate field foo in type float64" },
    { "{{ .Foo }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <.Foo>: can't evaluate field Foo in type struct { Labels map["
      "string]string; ExternalLabels map[string]string; ExternalURL string; Value int"
      "erface {} }" },
    { "{{ .Labels.job.x }}",
      "ERR error executing template __alert_X: template: __alert_X:1:122: executing "
      "\"__alert_X\" at <.Labels.job.x>: can't evaluate field x in type string" },
    { "{{ $labels.job \"x\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:122: executing "
      "\"__alert_X\" at <$labels.job>: job is not a method but has arguments" },
    { "{{ \"x\" | $labels.job }}",
      "ERR error executing template __alert_X: template: __alert_X:1:128: executing "
      "\"__alert_X\" at <$labels.job>: job is not a method but has arguments" },
    { "{{ .Value 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <.Value>: Value has arguments but cannot be invoked as functi"
      "on" },
    { "{{ \"a\" 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <\"a\">: can't give argument to non-function \"a\"" },
    { "{{ 1 | 2 }}",
      "PARSE template: __alert_X:1: non executable command in pipeline stage 2" },
    { "{{ $undefined }}",
      "PARSE template: __alert_X:1: undefined variable \"$undefined\"" },
    { "{{ foo }}",
      "PARSE template: __alert_X:1: function \"foo\" not defined" },
    { "{{ }}",
      "PARSE template: __alert_X:1: missing value for command" },
    { "{{ if }}x{{ end }}",
      "PARSE template: __alert_X:1: missing value for if" },
    { "{{ if true }}x",
      "PARSE template: __alert_X:1: unexpected EOF" },
    { "{{ end }}",
      "PARSE template: __alert_X:1: unexpected {{end}}" },
    { "{{ else }}",
      "PARSE template: __alert_X:1: unexpected {{else}}" },
    { "{{ if true }}a{{ else }}b{{ else }}c{{ end }}",
      "PARSE template: __alert_X:1: expected end; found {{else}}" },
    { "{{ range",
      "PARSE template: __alert_X:1: unclosed action" },
    { "{{ \"abc",
      "PARSE template: __alert_X:1: unterminated quoted string" },
    { "{{ \"abc }}",
      "PARSE template: __alert_X:1: unterminated quoted string" },
    { "{{ 'ab' }}",
      "PARSE template: __alert_X:1: malformed character constant: 'ab'" },
    { "{{ '' }}",
      "PARSE template: __alert_X:1: invalid syntax" },
    { "{{ \"\\q\" }}",
      "PARSE template: __alert_X:1: invalid syntax" },
    { "{{ $labels.job",
      "PARSE template: __alert_X:1: unclosed action" },
    { "{{ $labels.job }",
      "PARSE template: __alert_X:1: unexpected \"}\" in operand" },
    { "{{ ( $value }}",
      "PARSE template: __alert_X:1: unclosed left paren" },
    { "{{ $value ) }}",
      "PARSE template: __alert_X:1: unexpected right paren" },
    { "{{ $value ! }}",
      "PARSE template: __alert_X:1: unexpected \"!\" in operand" },
    { "{{ $value; }}",
      "PARSE template: __alert_X:1: bad character U+003B ';'" },
    { "{{ $x := }}",
      "PARSE template: __alert_X:1: missing value for command" },
    { "{{ $x, $y := 1 }}",
      "PARSE template: __alert_X:1: too many declarations in command" },
    { "{{ range $x, $y, $z := $labels }}{{ end }}",
      "PARSE template: __alert_X:1: too many declarations in range" },
    { "{{ range $x, 1 := $labels }}{{ end }}",
      "PARSE template: __alert_X:1: range can only initialize variables" },
    { "{{ break }}",
      "PARSE template: __alert_X:1: {{break}} outside {{range}}" },
    { "{{ continue }}",
      "PARSE template: __alert_X:1: {{continue}} outside {{range}}" },
    { "{{ define \"a\" }}x{{ end }}{{ define \"a\" }}y{{ end }}",
      "PARSE template: __alert_X:1: template: multiple definition of template \"a\"" },
    { "{{ define a }}{{ end }}",
      "PARSE template: __alert_X:1: unexpected \"a\" in define clause" },
    { "{{ define \"a\" }}x",
      "PARSE template: __alert_X:1: unexpected EOF" },
    { "{{ template }}",
      "PARSE template: __alert_X:1: unexpected \"}}\" in template clause" },
    { "{{ template a }}",
      "PARSE template: __alert_X:1: unexpected \"a\" in template clause" },
    { "{{ template \"a\" 1 2 | }}",
      "ERR error executing template __alert_X: template: __alert_X:1:124: executing "
      "\"__alert_X\" at <{{template \"a\" 1 2}}>: template \"a\" not defined" },
    { "{{ block \"a\" }}{{ end }}",
      "PARSE template: __alert_X:1: missing value for block clause" },
    { "{{/* unclosed",
      "PARSE template: __alert_X:1: unclosed comment" },
    { "{{/* c */ x }}",
      "PARSE template: __alert_X:1: comment ends before closing delimiter" },
    { "{{ 1.2.3 }}",
      "PARSE template: __alert_X:1: unexpected \".3\" in operand" },
    { "{{ 1x }}",
      "PARSE template: __alert_X:1: bad number syntax: \"1x\"" },
    { "{{ .5x }}",
      "PARSE template: __alert_X:1: bad number syntax: \".5x\"" },
    { "{{ true.x }}",
      "PARSE template: __alert_X:1: unexpected . after term \"true\"" },
    { "{{ \"a\".b }}",
      "PARSE template: __alert_X:1: unexpected . after term \"\\\"a\\\"\"" },
    { "{{ nil.x }}",
      "PARSE template: __alert_X:1: unexpected . after term \"nil\"" },
    { "{{ (nil).x }}",
      "ERR error executing template __alert_X: template: __alert_X:1:116: executing "
      "\"__alert_X\" at <nil>: nil is not a command" },
    { "{{ $labels.job | foo }}",
      "PARSE template: __alert_X:1: function \"foo\" not defined" },
    { "{{ $labels.job | | x }}",
      "PARSE template: __alert_X:1: unexpected \"|\" in command" },
    { "{{ | x }}",
      "PARSE template: __alert_X:1: unexpected \"|\" in command" },
    { "{{ $labels | len | printf \"%03d\" }}",
      "OK 004" },
    { "{{ printf \"%s\" ($labels.job | toUpper | printf \"%q\") }}",
      "OK \"NODE\"" },
    { "{{ call $value }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <call $value>: error calling call: non-function $value of typ"
      "e float64" },
    { "{{ call nil }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <call nil>: error calling call: call of nil" },
    { "{{ call 1 2 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <call 1 2>: error calling call: non-function 1 of type int" },
    { "{{ toUpper }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <toUpper>: wrong number of args for toUpper: want 1 got 0" },
    { "{{ toUpper \"a\" \"b\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <toUpper>: wrong number of args for toUpper: want 1 got 2" },
    { "{{ toUpper 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:123: executing "
      "\"__alert_X\" at <1>: expected string; found 1" },
    { "{{ toUpper $value }}",
      "ERR error executing template __alert_X: template: __alert_X:1:123: executing "
      "\"__alert_X\" at <$value>: wrong type for value; expected string; got float64" },
    { "{{ toUpper nil }}",
      "ERR error executing template __alert_X: template: __alert_X:1:123: executing "
      "\"__alert_X\" at <nil>: cannot assign nil to string" },
    { "{{ printf 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:122: executing "
      "\"__alert_X\" at <1>: expected string; found 1" },
    { "{{ printf }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <printf>: wrong number of args for printf: want at least 1 go"
      "t 0" },
    { "{{ and }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <and>: wrong number of args for and: want at least 1 got 0" },
    { "{{ not }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <not>: wrong number of args for not: want 1 got 0" },
    { "{{ len }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <len>: wrong number of args for len: want 1 got 0" },
    { "{{ index }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <index>: wrong number of args for index: want at least 1 got "
      "0" },
    { "{{ eq }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <eq>: wrong number of args for eq: want at least 1 got 0" },
    { "{{ now 1 }}",
      "ERR error executing template __alert_X: template: __alert_X:1:115: executing "
      "\"__alert_X\" at <now>: wrong number of args for now: want 0 got 1" },
    { "{{ 1 | now }}",
      "ERR error executing template __alert_X: template: __alert_X:1:119: executing "
      "\"__alert_X\" at <now>: wrong number of args for now: want 0 got 1" },
    { "{{ $ }}",
      "OK {map[esc:a<b>&\"c' instance:host-1.example.com:9100 job:node severity:criti"
      "cal] map[site:eqiad] http://prom.example.com/base 0.0012345}" },
    { "{{ $.Labels.job }}{{ with 1 }}{{ $.Value }}{{ end }}",
      "OK node0.0012345" },
    { "{{ .}}x{{.Value}}",
      "OK {map[esc:a<b>&\"c' instance:host-1.example.com:9100 job:node severity:criti"
      "cal] map[site:eqiad] http://prom.example.com/base 0.0012345}x0.0012345" },
    { "{{$value}}{{- $value -}}{{ $value }}",
      "OK 0.00123450.00123450.0012345" },
    { "{{ if and (gt $value 0.0) (lt $value 10.0) }}in{{ end }}",
      "OK in" },
    { "{{ $v := printf \"%.1f\" $value }}{{ if eq $v \"3.0\" }}three{{ else }}{{ $v }"
      "}{{ end }}",
      "OK 0.0" },
    { "{{ printf \"%6.2f%%\" $value }} {{ printf \"%.3g\" $value }} {{ printf \"%g\" "
      "1e21 }} {{ printf \"%v\" 1e20 }} {{ printf \"%v\" 123456789.0 }} {{ printf \"%"
      "e\" 0.0 }} {{ 100000.0 }} {{ 1000000.0 }} {{ 0.0001 }} {{ 0.00001 }} {{ 1e100 "
      "}}",
      "OK   0.00% 0.00123 1e+21 1e+20 1.23456789e+08 0.000000e+00 100000 1e+06 0.0001"
      " 1e-05 1e+100" },
    { "{{ printf \"%x %X %x\" 255 255 1.5 }} {{ printf \"% x\" \"hello\" }} {{ printf"
      " \"%#q\" \"a\" }} {{ printf \"%+q\" \"\303\251\" }} {{ printf \"%5t|%-7t|\" tr"
      "ue false }} {{ printf \"%5v|\" nil }} {{ printf \"%q\" \"a\\x00b\\u00e9\\u200b"
      "\" }}",
      "OK ff FF 0x1.8p+00 68 65 6c 6c 6f `a` \"\\u00e9\"  true|false  | <nil>| \"a\\x"
      "00b\303\251\\u200b\"" },
    { "{{ printf \"%5.1f|%-8s|%8s\" 3.14159 \"ab\" \"cd\" }} {{ printf \"%05s\" \"a\""
      " }} {{ printf \"%-05d|\" 3 }} {{ printf \"%+05d\" 3 }} {{ printf \"%.3d\" 5 }}"
      " {{ printf \"%.0d\" 0 }} {{ printf \"%6.3d|\" 5 }}",
      "OK   3.1|ab      |      cd 0000a 3    | +0003 005     005|" },
    { "{{ printf \"%v %v\" 'x' \"\303\251\" }} {{ index \"\303\251\" 0 }} {{ printf "
      "\"%T\" (index \"a\" 0) }}",
      "OK 120 \303\251 195 uint8" },
    { "{{ printf \"%s\" nil }} {{ printf \"%d\" nil }} {{ printf \"%v\" nil }} {{ nil"
      " | printf \"%v\" }}",
      "ERR error executing template __alert_X: template: __alert_X:1:181: executing "
      "\"__alert_X\" at <nil>: nil is not a command" },
    { "{{ print }}|{{ println }}|{{ html }}",
      "OK |\012|" },
    { "a\012b {{ $x.\012 y }}",
      "PARSE template: __alert_X:2: undefined variable \"$x\"" },
    { "line1\012line2 {{ if\012true }}x\012{{ foo }}",
      "PARSE template: __alert_X:4: function \"foo\" not defined" },
    { "l1\012  {{ .Foo }}",
      "ERR error executing template __alert_X: template: __alert_X:2:5: executing \"_"
      "_alert_X\" at <.Foo>: can't evaluate field Foo in type struct { Labels map[str"
      "ing]string; ExternalLabels map[string]string; ExternalURL string; Value interf"
      "ace {} }" },
    { "{{ if true\012}}\012{{ end",
      "PARSE template: __alert_X:3: unclosed action" },
    { "{{ 1 |\012}}",
      "OK 1" },
    { "{{ $a := 1 }}{{ range $a = 3 }}{{ $a }}{{ end }}{{ $a }}",
      "OK 0122" },
