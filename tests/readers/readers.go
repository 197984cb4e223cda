// What the readers of Go's own library make of a body: JSON as servers written in Go decode it, and forms.
//
// A line in is the kind of a body, its content type and its bytes, the last two in base64. A line out is
// a list in JSON: the meaning of the body to each reader, or why that reader refuses it.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"os"
	"reflect"
	"strings"
)

// A part of a message's content.
type part struct {
	Type       any `json:"type"`
	Text       any `json:"text"`
	Refusal    any `json:"refusal"`
	Thinking   any `json:"thinking"`
	Content    any `json:"content"`
	Input      any `json:"input"`
	Output     any `json:"output"`
	ImageURL   any `json:"image_url"`
	Source     any `json:"source"`
	File       any `json:"file"`
	FileData   any `json:"file_data"`
	InputAudio any `json:"input_audio"`
}

type message struct {
	Role       any             `json:"role"`
	Content    json.RawMessage `json:"content"`
	Name       any             `json:"name"`
	Type       any             `json:"type"`
	Output     any             `json:"output"`
	Arguments  any             `json:"arguments"`
	ToolCalls  any             `json:"tool_calls"`
	ToolCallID any             `json:"tool_call_id"`
	Reasoning  any             `json:"reasoning_content"`
}

type tool struct {
	Type any `json:"type"`
	Name any `json:"name"`
}

// A request whose values may be anything: what counts is which member is taken for which.
type loose struct {
	Model           any             `json:"model"`
	Stream          any             `json:"stream"`
	MaxTokens       any             `json:"max_tokens"`
	MaxCompletion   any             `json:"max_completion_tokens"`
	MaxOutput       any             `json:"max_output_tokens"`
	NPredict        any             `json:"n_predict"`
	NumPredict      any             `json:"num_predict"`
	MaxNew          any             `json:"max_new_tokens"`
	MaxLength       any             `json:"max_length"`
	MaxToSample     any             `json:"max_tokens_to_sample"`
	N               any             `json:"n"`
	NCmpl           any             `json:"n_cmpl"`
	BestOf          any             `json:"best_of"`
	NumReturn       any             `json:"num_return_sequences"`
	BeamSearch      any             `json:"use_beam_search"`
	Logprobs        any             `json:"logprobs"`
	Echo            any             `json:"echo"`
	Store           any             `json:"store"`
	Background      any             `json:"background"`
	Previous        any             `json:"previous_response_id"`
	Conversation    any             `json:"conversation"`
	MaxToolCalls    any             `json:"max_tool_calls"`
	ServiceTier     any             `json:"service_tier"`
	Thinking        any             `json:"thinking"`
	Reasoning       any             `json:"reasoning"`
	ReasoningEffort any             `json:"reasoning_effort"`
	WebSearch       any             `json:"web_search_options"`
	Search          any             `json:"search_parameters"`
	Plugins         any             `json:"plugins"`
	Models          any             `json:"models"`
	Template        any             `json:"chat_template"`
	TemplateArgs    any             `json:"chat_template_kwargs"`
	Options         any             `json:"options"`
	StreamOptions   any             `json:"stream_options"`
	Functions       any             `json:"functions"`
	Suffix          any             `json:"suffix"`
	Stop            any             `json:"stop"`
	ToolChoice      any             `json:"tool_choice"`
	Instructions    any             `json:"instructions"`
	Messages        json.RawMessage `json:"messages"`
	Input           json.RawMessage `json:"input"`
	Prompt          json.RawMessage `json:"prompt"`
	System          json.RawMessage `json:"system"`
	Tools           json.RawMessage `json:"tools"`
}

// A request as strictly typed servers have it.
type typed struct {
	Model         string          `json:"model"`
	Stream        bool            `json:"stream"`
	MaxTokens     *int            `json:"max_tokens"`
	MaxCompletion *int            `json:"max_completion_tokens"`
	MaxOutput     *int            `json:"max_output_tokens"`
	NPredict      *int            `json:"n_predict"`
	NumPredict    *int            `json:"num_predict"`
	N             int             `json:"n"`
	BestOf        int             `json:"best_of"`
	Store         bool            `json:"store"`
	Messages      json.RawMessage `json:"messages"`
	Input         json.RawMessage `json:"input"`
	Prompt        json.RawMessage `json:"prompt"`
	System        json.RawMessage `json:"system"`
	Tools         json.RawMessage `json:"tools"`
}

// Members whose strings are a part of the prompt.
var prompts = map[string]bool{
	"messages": true, "input": true, "prompt": true, "instructions": true, "system": true,
	"tools": true, "functions": true, "suffix": true,
}

// What holds an image, a file or a sound: its bytes are not read as text.
var held = map[string]bool{
	"image_url": true, "source": true, "file": true, "file_data": true, "input_audio": true,
}

// What holds parts, or is one.
var contents = map[string]bool{"content": true, "output": true}

// A role and a type are in the frame of what they stand in, up to this many bytes.
const longestFrame = 20

// What a reader makes of a body.
type meaning struct {
	By     string         `json:"by"`
	Names  []string       `json:"names"`
	Values map[string]any `json:"values"`
	// Bytes of text and the number of images, by the member that they stand in.
	Prompts map[string][2]int `json:"prompts"`
	// How many texts a list is, likewise.
	Texts  map[string]int `json:"texts"`
	Hosted int            `json:"hosted"`
	text   int
	images int
}

// Only what stands in the content of a message is an image to anyone.
func (m *meaning) weigh(value any, isContent bool) {
	switch value := value.(type) {
	case string:
		m.text += len(value)
	case []any:
		for _, each := range value {
			m.weigh(each, isContent)
		}
	case map[string]any:
		for name, each := range value {
			word, isWord := each.(string)
			switch {
			case isContent && held[name] && holds(each):
				m.images++
			case isWord && len(word) <= longestFrame && (name == "role" || name == "type"):
			default:
				m.weigh(each, contents[name])
			}
		}
	}
}

// An address, or an object with one.
func holds(value any) bool {
	switch value.(type) {
	case string, map[string]any:
		return true
	}
	return false
}

func (m *meaning) part(part part) {
	for _, each := range []any{part.Text, part.Refusal, part.Thinking, part.Input} {
		m.weigh(each, false)
	}
	m.weigh(part.Content, true)
	m.weigh(part.Output, true)
	for _, each := range []any{part.ImageURL, part.Source, part.File, part.FileData, part.InputAudio} {
		if holds(each) {
			m.images++
		}
	}
}

// A message's content, or all messages: a text, or a list of what has names of its own.
func (m *meaning) content(raw json.RawMessage) {
	var parts []part
	var value any
	if json.Unmarshal(raw, &parts) == nil {
		for _, each := range parts {
			m.part(each)
		}
	} else if json.Unmarshal(raw, &value) == nil {
		m.weigh(value, true)
	}
}

func (m *meaning) messages(raw json.RawMessage) {
	var list []message
	if json.Unmarshal(raw, &list) != nil {
		m.content(raw)
		return
	}
	for _, each := range list {
		m.content(each.Content)
		for _, value := range []any{each.Name, each.Arguments, each.ToolCalls, each.ToolCallID, each.Reasoning} {
			m.weigh(value, false)
		}
		m.weigh(each.Output, true)
	}
}

// A scalar as itself, of anything else that it is there.
func scalar(value any) any {
	switch value.(type) {
	case []any, map[string]any, json.RawMessage:
		return map[string]any{}
	}
	return value
}

func (m *meaning) member(name string, value any) {
	m.Names = append(m.Names, name)
	m.Values[name] = scalar(value)
	m.text, m.images = 0, 0
	raw, isRaw := value.(json.RawMessage)
	switch {
	case name == "messages" || name == "input" && isRaw:
		m.messages(raw)
	case isRaw && name == "system":
		m.content(raw)
	case isRaw:
		var any any
		if json.Unmarshal(raw, &any) == nil {
			m.weigh(any, false)
		}
	case prompts[name]:
		m.weigh(value, name == "system")
	}
	if isRaw || prompts[name] {
		m.Prompts[name] = [2]int{m.text, m.images}
	}
	if isRaw && name == "tools" {
		var tools []tool
		if json.Unmarshal(raw, &tools) == nil {
			for _, each := range tools {
				m.tool(each.Type)
			}
		}
	}
	if isRaw && (name == "prompt" || name == "input") {
		var list []any
		if json.Unmarshal(raw, &list) == nil {
			m.Texts[name] = texts(list)
		}
	}
}

// How many texts a list is: one of numbers alone is one.
func texts(list []any) int {
	for _, each := range list {
		if _, isNumber := each.(float64); !isNumber {
			return len(list)
		}
	}
	return 1
}

func (m *meaning) tool(kind any) {
	text, _ := kind.(string)
	for _, start := range []string{"web_", "file_search", "code_", "image_generation", "mcp", "browser_search"} {
		if strings.HasPrefix(text, start) {
			m.Hosted++
		}
	}
}

func begin(by string) *meaning {
	return &meaning{By: by, Names: []string{}, Values: map[string]any{}, Prompts: map[string][2]int{}, Texts: map[string]int{}}
}

func refused(by string, err error) any {
	return map[string]string{"by": by, "refused": err.Error()}
}

// The members of a struct that the body has set.
func ofStruct(by string, body []byte, into any) any {
	if err := json.Unmarshal(body, into); err != nil {
		return refused(by, err)
	}
	m := begin(by)
	fields := reflect.ValueOf(into).Elem()
	for at := 0; at < fields.NumField(); at++ {
		field := fields.Field(at)
		if field.IsZero() {
			continue
		}
		name := fields.Type().Field(at).Tag.Get("json")
		value := field.Interface()
		if field.Kind() == reflect.Pointer {
			value = field.Elem().Interface()
		}
		if raw, isRaw := value.(json.RawMessage); isRaw && string(raw) == "null" {
			continue
		}
		m.member(name, value)
	}
	return m
}

func ofMap(by string, body []byte) any {
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		return refused(by, err)
	}
	m := begin(by)
	for name, value := range members {
		m.Names = append(m.Names, name)
		m.Values[name] = scalar(value)
		if prompts[name] {
			m.text, m.images = 0, 0
			m.weigh(value, name == "system")
			m.Prompts[name] = [2]int{m.text, m.images}
		}
		list, isList := value.([]any)
		if isList && (name == "prompt" || name == "input") {
			m.Texts[name] = texts(list)
		}
		for _, each := range list {
			if tool, isTool := each.(map[string]any); isTool && name == "tools" {
				m.tool(tool["type"])
			}
		}
	}
	return m
}

func ofForm(by string, contentType string, body []byte) any {
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		return refused(by, err)
	}
	if kind != "multipart/form-data" {
		return refused(by, errors.New("no form"))
	}
	fields, files := [][]any{}, [][]any{}
	reader := multipart.NewReader(bytes.NewReader(body), parameters["boundary"])
	for {
		part, err := reader.NextPart()
		if err == io.EOF {
			return map[string]any{"by": by, "fields": fields, "files": files}
		}
		if err != nil {
			return refused(by, err)
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return refused(by, err)
		}
		if part.FileName() == "" {
			fields = append(fields, []any{part.FormName(), string(value)})
		} else {
			files = append(files, []any{part.FormName(), len(value)})
		}
	}
}

func read(kind string, contentType string, body []byte) []any {
	if kind == "form" {
		return []any{ofForm("Go mime/multipart", contentType, body)}
	}
	return []any{
		ofStruct("Go struct", body, &loose{}),
		ofStruct("Go typed struct", body, &typed{}),
		ofMap("Go map", body),
	}
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		contentType, _ := base64.StdEncoding.DecodeString(words[1])
		body, _ := base64.StdEncoding.DecodeString(words[2])
		answer, err := json.Marshal(read(words[0], string(contentType), body))
		if err != nil {
			answer = []byte(`[{"by":"Go","broken":"` + strings.ReplaceAll(err.Error(), `"`, "'") + `"}]`)
		}
		out.Write(answer)
		out.WriteByte('\n')
		if lines.Buffered() == 0 {
			out.Flush()
		}
	}
}
